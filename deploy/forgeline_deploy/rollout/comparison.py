"""Whether the challenger is worse than the champion: two e-values, and an interval, from counts alone.

In shadow both answered the same request, and the difference of their losses is what is averaged. In a canary step a
request has one answer; with the share w of the challenger, its loss x counts as x / w, and the champion's as
-x / (1 - w). The mean of that is the difference of their mean losses at that time, whatever else changes over the day
(inverse propensity weighting; D. G. Horvitz, D. J. Thompson, Journal of the American Statistical Association 47 (1952),
663-685). Both are bounded, so that one bets on either in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from forgeline_deploy.rollout.betting import Sample, log_e_above, log_e_below, log_of_sum, lower_bound
from forgeline_deploy.rollout.evidence import Evidence, StepCounts
from forgeline_deploy.rollout.losses import LossScale
from forgeline_deploy.rollout.spec import CompareConfig, Step

FIRST_STEP_WEIGHT = 0.8
"""Weight of the bets that begin with the first step; those that begin with a later one share the rest."""

Side = Literal["worse", "not_worse"]
Samples = Sequence[tuple[Sample, Sample]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the labels say.

    Attributes:
        labelled: requests with a label that tell of the challenger.
        worse: e-value against "worse by at most `worse_by`".
        not_worse: e-value against "worse by more than `worse_by`".
        threshold: an e-value from here on decides.
        unit: the largest loss, in the metric's unit.
        samples: of each step, its values as they are rounded for `worse` and for `not_worse`, in parts of the unit.
    """

    labelled: int
    worse: float
    not_worse: float
    threshold: float
    unit: float
    samples: Sequence[tuple[Sample, Sample]]

    @cached_property
    def difference(self) -> float | None:
        """The challenger's mean loss less the champion's; None without labels. Steps weigh by how sure each is."""
        return _difference(self.samples) * self.unit if self.labelled else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Where the difference lies with the asked confidence, at all times together; None without labels."""
        if not self.labelled:
            return None
        low, high = _interval(self.samples, 2 * self.threshold)
        return low * self.unit, high * self.unit

    @property
    def is_worse(self) -> bool:
        """Certainly worse by more than is allowed."""
        return self.worse >= self.threshold

    @property
    def is_not_worse(self) -> bool:
        """Certainly not worse by more than is allowed."""
        return self.not_worse >= self.threshold


def compare(
    evidence: Evidence, steps: Sequence[Step], config: CompareConfig, baselines: Mapping[int, float]
) -> Comparison:
    """Compare by all that is known; nothing decides before `min_labels`.

    Args:
        baselines: of each canary step, the champion's mean loss as it was known when the step began, 0 to 1 of the
            bound. Losses are taken from there, so that fewer bets are lost to what both have in common.
    """
    scale = LossScale(config.metric, config.largest)
    counted = [
        (evidence.of_step(number), step, baselines.get(number, 0.0))
        for number, step in enumerate(steps)
        if step.share < 1
    ]
    samples = [
        (_sample(counts, step, base, scale, "worse"), _sample(counts, step, base, scale, "not_worse"))
        for counts, step, base in counted
    ]
    labelled = sum(
        sum((counts.pairs if step.shadow else counts.challenger_losses).values()) for counts, step, _ in counted
    )
    mean, enough = config.worse_by / config.largest, labelled >= config.min_labels
    return Comparison(
        labelled=labelled,
        worse=as_e(_log_e_worse(samples, mean)) if enough else 1.0,
        not_worse=as_e(_log_e_not_worse(samples, mean)) if enough else 1.0,
        threshold=1 / (1 - config.confidence),
        unit=config.largest,
        samples=samples,
    )


def champion_loss(evidence: Evidence, scale: LossScale) -> float:
    """The champion's mean loss in canary steps so far, 0 to 1 of the bound; 0 while it is unknown."""
    levels = evidence.total().champion_losses
    rows = sum(levels.values())
    return round(sum(level * count for level, count in levels.items()) / rows / scale.levels, 4) if rows else 0.0


def _sample(counts: StepCounts, step: Step, base: float, scale: LossScale, side: Side) -> Sample:
    """A step's values; what was rounded counts against what is to be found: for the challenger, or against it."""
    up = 0 if scale.exact else 1
    if step.shadow:
        shift = 0 if side == "worse" else up
        levels = [min(level + shift, scale.levels) for level in counts.pairs]
        return _of(levels, list(counts.pairs.values()), scale.levels, low=-1.0, high=1.0)
    challenger_up, champion_up = (0, up) if side == "worse" else (up, 0)
    values = [(_share(level + challenger_up, scale) - base) / step.share for level in counts.challenger_losses]
    values += [(base - _share(level + champion_up, scale)) / (1 - step.share) for level in counts.champion_losses]
    return _of(
        values,
        [*counts.challenger_losses.values(), *counts.champion_losses.values()],
        1,
        low=min(-base / step.share, (base - 1) / (1 - step.share)),
        high=max((1 - base) / step.share, base / (1 - step.share)),
    )


def _share(level: int, scale: LossScale) -> float:
    return min(level, scale.levels) / scale.levels


def _of(values: Sequence[float], counts: Sequence[int], divisor: int, *, low: float, high: float) -> Sample:
    return Sample(
        values=np.asarray(values, dtype=np.float64) / divisor,
        counts=np.asarray(counts, dtype=np.int64),
        low=low,
        high=high,
    )


def _log_e_worse(samples: Samples, mean: float) -> float:
    return over_steps([log_e_above(worse, mean) for worse, _ in samples])


def _log_e_not_worse(samples: Samples, mean: float) -> float:
    return over_steps([log_e_below(not_worse, mean) for _, not_worse in samples])


def over_steps(log_e_S: Sequence[float]) -> float:
    """Logarithms of the e-values of single steps [S] -> that of all: the mean of bets that begin with each of them.

    Bets that began in shadow may have lost nearly all there; those that begin with a canary step see at once what only
    real traffic shows.
    """
    if len(log_e_S) == 1:
        return log_e_S[0]
    later = (1 - FIRST_STEP_WEIGHT) / (len(log_e_S) - 1)
    weights_S = [FIRST_STEP_WEIGHT, *[later] * (len(log_e_S) - 1)]
    since_S = np.cumsum(np.asarray(log_e_S)[::-1])[::-1]
    return log_of_sum(np.log(weights_S) + since_S)


def _interval(samples: Samples, threshold: float) -> tuple[float, float]:
    low = lower_bound(lambda mean: _log_e_worse(samples, mean), -1.0, 1.0, threshold)
    high = -lower_bound(lambda mean: _log_e_not_worse(samples, -mean), -1.0, 1.0, threshold)
    return low, high


def _difference(samples: Samples) -> float:
    parts = []
    for below, above in samples:
        if below.rows:
            variance = max(float((below.values - below.mean) ** 2 @ below.counts / below.rows), 1e-12)
            parts.append(((below.mean + above.mean) / 2, below.rows / variance))
    means, weights = np.asarray(parts).T
    return float(means @ weights / weights.sum())


def as_e(log_e: float) -> float:
    """The e-value of a logarithm."""
    # What is larger says nothing more, and has to be a number in JSON.
    return float(np.exp(min(log_e, 600.0)))
