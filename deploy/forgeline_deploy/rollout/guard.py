"""The limits on the challenger by itself: errors, latency, disagreement; each is certain to be passed, or is not.

Of each limit it is asked whether the share of requests that are over it is larger than allowed: of `p99: 100ms`,
whether more than 1 % of the answers take longer than 100 ms. All limits share the chance of a wrong rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgeline_deploy.rollout.betting import log_e_share_above
from forgeline_deploy.rollout.comparison import as_e, over_steps
from forgeline_deploy.rollout.evidence import Evidence
from forgeline_deploy.rollout.spec import GuardConfig, Step


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What is known of one limit.

    Attributes:
        name: the key of the limit.
        rows: requests that it is about.
        over: those that are over it.
        allowed: share that may be.
        e: e-value against "at most the allowed share is over it".
        threshold: an e-value from here on decides.
    """

    name: str
    rows: int
    over: int
    allowed: float
    e: float
    threshold: float

    @property
    def is_passed(self) -> bool:
        """Certainly more are over it than may be."""
        return self.e >= self.threshold


def watch(evidence: Evidence, steps: Sequence[Step], config: GuardConfig) -> list[Limit]:
    """Every limit that is set, on all that is known."""
    counts = [evidence.of_step(number) for number in range(len(steps))]
    asked: dict[str, tuple[float, list[tuple[int, int]]]] = {}
    if config.errors is not None:
        asked["errors"] = config.errors.value, [(each.errors, each.requests) for each in counts]
    for name, (_, share) in config.latencies().items():
        asked[name] = share, [(each.slow.get(name, 0), each.requests) for each in counts]
    if config.disagreement is not None:
        asked["disagreement"] = config.disagreement.value, [(each.disagreements, each.shadowed) for each in counts]
    threshold = max(len(asked), 1) / (1 - config.confidence)
    return [
        Limit(
            name=name,
            rows=sum(rows for _, rows in pairs),
            over=sum(over for over, _ in pairs),
            allowed=share,
            e=_e(pairs, share) if sum(rows for _, rows in pairs) >= config.min_requests else 1.0,
            threshold=threshold,
        )
        for name, (share, pairs) in asked.items()
    ]


def _e(pairs: Sequence[tuple[int, int]], allowed: float) -> float:
    return as_e(over_steps([log_e_share_above(over, rows, allowed) for over, rows in pairs]))
