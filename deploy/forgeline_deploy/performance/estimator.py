"""Accuracy without labels, from how sure a classifier is: counts of a window in, an estimate with an interval out.

It rests on one assumption, that what is true of an input is as it was when the model was checked on held-out rows: then
inputs may come in other shares, and the accuracy changes with how sure the model is of them. This is the average
confidence of J. Kivimäki et al., arXiv:2407.08649 (2024), and CBPE for accuracy, arXiv:2505.05295 (2025), of confidence
that is calibrated, with what is in doubt about the calibration. Nothing can tell from inputs alone that the assumption
fails; where counts make it doubtful, the estimate says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincc

from forgeline.bundle.calibration import Calibration
from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import PROBABILITY, Reference
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference
from forgeline_deploy.performance import shift
from forgeline_deploy.performance.curve import Curves
from forgeline_deploy.performance.estimated import Estimated

Array = NDArray[np.float64]

LEVEL = 0.95
_HALVINGS = 30
_PARTS = 100
_STEPS = 100


class Estimator:
    """Estimates for one version.

    Args:
        reference: that windows are counted by.
        bins: in it, of the probability of the predicted class.
        calibration: of the same bins.
    """

    def __init__(self, reference: Reference, bins: NumericReference, calibration: Calibration) -> None:
        self._reference, self._bins, self._calibration = reference, bins, calibration
        self._curves: dict[int, Curves] = {}

    @classmethod
    def of(cls, reference: Reference) -> Self | None:
        """Of a model's statistics; None where they have no calibration, as those of a regressor."""
        bins, calibration = reference.outputs.get(PROBABILITY), reference.calibration
        if calibration is None or not sum(calibration.rows):
            return None
        assert isinstance(bins, NumericReference)
        return cls(reference, bins, calibration)

    def estimate(self, observation: Observation) -> Estimated | None:
        """Of the rows of a window; None without rows."""
        seen = observation.outputs.get(PROBABILITY)
        if not isinstance(seen, NumericCounts) or not seen.known:
            return None
        divergence = shift.divergence(self._reference, observation)
        # What the probability itself moved by is in the curve. The rest is how far inputs moved among rows of which the
        # model is as sure: second moments of weights multiply, E[w(x)^2] = E[w(p)^2 E[(w(x) / w(p))^2 | p]].
        share = min((1 + shift.divergence_of(self._bins, seen)) / (1 + divergence), 1.0)
        accuracies, weights = self._accuracies(seen, share)
        predicted, profile = observation.outputs.get("prediction"), self._reference.outputs.get("prediction")
        moved = 0.0
        if isinstance(predicted, CategoricalCounts) and isinstance(profile, CategoricalReference):
            moved = shift.moved(profile, predicted)
        above = _above(accuracies, weights, seen.known)
        return Estimated(
            accuracy=float(accuracies @ weights),
            low=_quantile(above, (1 + LEVEL) / 2),
            high=_quantile(above, (1 - LEVEL) / 2),
            below=seen.below / seen.known,
            outside=shift.outside(self._reference, observation),
            moved=moved,
            reach=1 / (1 + divergence),
        )

    def _accuracies(self, seen: NumericCounts, share: float) -> tuple[Array, Array]:
        """Of each curve the accuracy and the probability, where held-out rows count for a share of what they are."""
        assert seen.minimum is not None
        lowest = (min(max(seen.minimum, 0.0), self._bins.minimum) + self._bins.minimum) / 2
        probabilities = np.asarray([lowest, *self._calibration.probability, self._bins.maximum])
        shares = np.asarray([seen.below, *seen.bins, seen.above]) / seen.known
        # In hundredths, of which replays of many windows meet few.
        step = max(round(_STEPS * share), 1)
        if step not in self._curves:
            self._curves[step] = Curves.of(self._calibration, share=step / _STEPS)
        curves = self._curves[step]
        return curves.accuracies(probabilities) @ shares, curves.weights


def _above(accuracies: Array, weights: Array, rows: int) -> Callable[[float], float]:
    """The probability that the share of right answers among so many rows is above a value.

    Of a known accuracy the share is binomial, here the beta distribution with as many rows. Curves of almost the same
    accuracy are taken together, which changes no figure that is shown.
    """
    order = np.argsort(accuracies, kind="stable")
    parts = np.minimum((np.cumsum(weights[order]) * _PARTS).astype(np.int64), _PARTS - 1)
    totals = np.bincount(parts, weights=weights[order], minlength=_PARTS)
    sums = np.bincount(parts, weights=(weights * accuracies)[order], minlength=_PARTS)
    means = sums[totals > 0] / totals[totals > 0]
    right, wrong = np.maximum(means * rows, 1e-9), np.maximum((1 - means) * rows, 1e-9)
    kept = totals[totals > 0]

    def above(value: float) -> float:
        return float(kept @ betaincc(right, wrong, value))

    return above


def _quantile(above: Callable[[float], float], probability: float) -> float:
    """The value that is exceeded with a probability."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > probability else (low, middle)
    return (low + high) / 2
