"""The figures of a decision, as the journal keeps them and as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forgeline.spec.units import Share
from forgeline_deploy.rollout.comparison import Comparison, compare
from forgeline_deploy.rollout.evidence import Evidence
from forgeline_deploy.rollout.guard import Limit, watch
from forgeline_deploy.rollout.spec import RolloutConfig


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What all evidence says.

    Attributes:
        comparison: by labels; None when none is asked for.
        limits: each limit of the guard.
        disagreement: share of the shadowed requests that both answered otherwise; None without any.
    """

    comparison: Comparison | None
    limits: Sequence[Limit]
    disagreement: float | None

    @property
    def passed_limit(self) -> Limit | None:
        """The first limit that the challenger is certainly over."""
        return next((limit for limit in self.limits if limit.is_passed), None)

    def to_json(self) -> dict[str, Any]:
        """The figures, as plain numbers."""
        found: dict[str, Any] = {"disagreement": self.disagreement}
        for limit in self.limits:
            found[limit.name] = {"over": limit.over, "rows": limit.rows, "allowed": limit.allowed, "e": limit.e}
        if self.comparison is not None:
            one = self.comparison
            found["comparison"] = {
                "labelled": one.labelled,
                "difference": one.difference,
                "interval": None if one.interval is None else list(one.interval),
                "worse": one.worse,
                "not_worse": one.not_worse,
                "threshold": one.threshold,
            }
        return found


def assess(evidence: Evidence, config: RolloutConfig, baselines: dict[int, float]) -> Assessment:
    """Everything that is asked of a challenger, by the counts until now."""
    total = evidence.total()
    return Assessment(
        comparison=None if config.compare is None else compare(evidence, config.steps, config.compare, baselines),
        limits=watch(evidence, config.steps, config.guard),
        disagreement=total.disagreements / total.shadowed if total.shadowed else None,
    )


def over_limit(limit: Limit) -> str:
    """Why a limit rolls back, in words."""
    what = {
        "errors": "requests failed",
        "disagreement": "shadowed requests were answered otherwise than by the champion",
    }.get(limit.name, f"answers were slower than {limit.name} allows")
    return (
        f"guard.{limit.name}: {limit.over:,} of {limit.rows:,} {what} ({Share(round(limit.over / limit.rows, 4))}); "
        f"allowed: {Share(limit.allowed)}"
    )


def in_words(config: RolloutConfig, comparison: Comparison) -> str:
    """The comparison in one sentence."""
    assert config.compare is not None
    metric = config.compare.metric
    if comparison.difference is None or comparison.interval is None:
        return f"{metric}: no label has come yet"
    low, high = comparison.interval
    return (
        f"{metric}: the challenger is {_worse(comparison.difference)}, between {low:+.4g} and {high:+.4g} "
        f"with a confidence of {Share(config.compare.confidence)}, by {comparison.labelled:,} labelled requests; "
        f"worse_by: {config.compare.worse_by:g}"
    )


def _worse(difference: float) -> str:
    if difference == 0:
        return "as good"
    return f"{'worse' if difference > 0 else 'better'} by {abs(difference):.4g}"
