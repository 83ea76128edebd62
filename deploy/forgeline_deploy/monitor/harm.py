"""Harm, which is paged: errors, slowness and wrong answers beyond a bound, told only where chance is no explanation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import bdtrc, ndtr

from forgeline_deploy.monitor.decision import Finding
from forgeline_deploy.monitor.pane import Stream, Tally
from forgeline_deploy.monitor.performance import Labelled
from forgeline_deploy.monitor.spec import Bounds
from forgeline_deploy.performance import text_of

if TYPE_CHECKING:
    from forgeline_deploy.performance import Estimated

_SLOW = 0.01
"""Of a p99, the share of requests that may take longer."""
_FEWEST_FOR_NORMAL = 30


@dataclass(frozen=True, kw_only=True)
class HarmTests:
    """Tests of one window against bounds.

    Attributes:
        alpha: probability of a false finding in a window where every measure is just at its bound.
    """

    bounds: Bounds
    alpha: float

    def of_requests(self, stream: Stream, tally: Tally) -> Iterator[Finding]:
        """What is wrong with how requests were served."""
        bounds, requests = self.bounds, tally.requests
        if self._above(tally.errors, requests, bounds.errors.value):
            share = tally.errors / requests
            yield Finding(
                severity="page",
                about="errors",
                stream=str(stream),
                subject="errors",
                text=f"{share:.2%} of {requests:,} requests failed; allowed: {bounds.errors}",
                value=share,
                bound=bounds.errors.value,
            )
        if bounds.p99 is not None:
            bound_s, timed = bounds.p99.total_seconds(), tally.latency.requests
            slow = tally.latency.surely_over(bound_s)
            if self._above(slow, timed, _SLOW):
                yield Finding(
                    severity="page",
                    about="latency",
                    stream=str(stream),
                    subject="p99",
                    text=f"{slow / timed:.2%} of {timed:,} requests took longer than {bounds.p99}; allowed: 1%",
                    value=tally.latency.quantile_s(0.99),
                    bound=bound_s,
                )
        refused = sum(tally.refused.values())
        if self._above(refused, requests, bounds.refused.value):
            worst = max(tally.refused, key=lambda reason: tally.refused[reason])
            yield Finding(
                severity="ticket",
                about="quality",
                stream=str(stream),
                subject="refused",
                text=f"{refused / requests:.2%} of {requests:,} requests were no valid input, most of all for {worst}; "
                f"allowed: {bounds.refused}",
                value=refused / requests,
                bound=bounds.refused.value,
            )

    def of_estimate(self, stream: Stream, estimated: Estimated) -> Finding | None:
        """What is probably wrong with what was answered, as long as no labels say it.

        A ticket, since it may as well be the estimate that is wrong.
        """
        bound = self.bounds.accuracy
        if bound is None or estimated.high >= bound.value:
            return None
        return Finding(
            severity="ticket",
            about="estimate",
            stream=str(stream),
            subject="accuracy",
            text=f"{text_of(estimated.figures())}; allowed: {bound} or more",
            value=estimated.accuracy,
            bound=bound.value,
        )

    def of_labels(self, stream: Stream, labelled: Labelled) -> Iterator[Finding]:
        """What is wrong with what was answered, by the labels that came since."""
        bounds, rows = self.bounds, labelled.rows
        if bounds.accuracy is not None and labelled.correct is not None:
            wrong, allowed = rows - labelled.correct, 1 - bounds.accuracy.value
            if self._above(wrong, rows, allowed):
                share = labelled.correct / rows
                yield Finding(
                    severity="page",
                    about="performance",
                    stream=str(stream),
                    subject="accuracy",
                    text=f"{share:.2%} of {rows:,} labelled answers were right; allowed: {bounds.accuracy} or more",
                    value=share,
                    bound=bounds.accuracy.value,
                )
        if bounds.mean_error is not None and labelled.error is not None and rows >= _FEWEST_FOR_NORMAL:
            mean, spread = labelled.error.mean, labelled.error.standard_error
            # The mean of so many distances is taken for normal.
            sure = mean > bounds.mean_error and (not spread or ndtr((bounds.mean_error - mean) / spread) <= self.alpha)
            if sure:
                yield Finding(
                    severity="page",
                    about="performance",
                    stream=str(stream),
                    subject="mean error",
                    text=f"labels were {mean:.4g} from {rows:,} predictions on average; allowed: {bounds.mean_error:g}",
                    value=mean,
                    bound=bounds.mean_error,
                )

    def _above(self, found: int, of: int, allowed: float) -> bool:
        """Whether so many of so many are more than a share allows: the exact binomial test."""
        if not found or found / of <= allowed:
            return False
        return allowed == 0 or bool(bdtrc(found - 1, of, allowed) <= self.alpha)


def wilson(found: int, of: int, *, z: float = 1.959964) -> tuple[float, float] | None:
    """A 95 % interval of a share; None of nothing.

    Equation (4) of E. B. Wilson: Probable inference, the law of succession, and statistical inference, Journal of the
    American Statistical Association 22 (1927), 209-212.
    """
    if not of:
        return None
    share, weight = found / of, z * z / of
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    # Rounding must not push an interval beyond the share that it is of.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
