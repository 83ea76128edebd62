"""From how sure a classifier is to how often it is right: a logistic curve, of which held-out rows leave some in doubt.

    logit P(right | p) = shift + slope * logit p                                              (1)

is J. Platt: Probabilistic outputs for support vector machines, in Advances in Large Margin Classifiers (1999), 61-74,
of the probability p of the predicted class. Held-out rows are few, often fewer than a hundred, and a good model is
wrong on none of them. So the curve that takes the model at its word, slope 1 and shift 0, is the one expected before
any row was seen, and rows move it: its posterior is computed on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logit

from forgeline.bundle.calibration import Calibration

Array = NDArray[np.float64]

SLOPE_SPREAD, SHIFT_SPREAD = 0.5, 1.0
"""Standard deviations of the slope's logarithm and of the shift before any row was seen."""
_POINTS = 25
_FARTHEST = 4.0
_ROUNDS = 5
"""In each the grid is laid anew where the one before found the curves; it may become a third as wide."""
# Nothing is surer: outputs are kept to 1e-4, see RESOLUTION of `forgeline.bundle.reference_outputs`.
_SUREST = 1 - 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Curves and how probable each of them is, given held-out rows.

    Attributes:
        slopes, shifts, weights: of each curve [curves]; weights add up to 1.
    """

    slopes: Array
    shifts: Array
    weights: Array

    @classmethod
    def of(cls, calibration: Calibration, *, share: float = 1.0) -> Self:
        """Of held-out rows, each of which counts for a share of a row."""
        right = share * np.asarray(calibration.correct, dtype=np.float64)
        wrong = share * np.asarray(calibration.rows, dtype=np.float64) - right
        certain = _logits(np.asarray(calibration.probability))
        middle, reach = np.zeros(2), np.eye(2)
        for _ in range(_ROUNDS):
            points = middle[:, None] + _FARTHEST * reach @ _square()
            slopes, shifts = np.exp(SLOPE_SPREAD * points[0]), SHIFT_SPREAD * points[1]
            logits = shifts[:, None] + slopes[:, None] * certain
            # log P(wrong) is log P(right) less the logit.
            logs = log_expit(logits) @ (right + wrong) - logits @ wrong - (points**2).sum(axis=0) / 2
            weights = np.exp(logs - logs.max())
            weights /= weights.sum()
            middle = points @ weights
            away = points - middle[:, None]
            # What lies between the points is not seen: no narrower than they are apart.
            apart = (2 * _FARTHEST / (_POINTS - 1)) * reach
            reach = np.linalg.cholesky((away * weights) @ away.T + apart @ apart.T / 4)
        return cls(slopes=slopes, shifts=shifts, weights=weights)

    def accuracies(self, probabilities: Array) -> Array:
        """How often each curve is right [curves, n] where the model is so sure [n]."""
        made: Array = expit(self.shifts[:, None] + self.slopes[:, None] * _logits(probabilities))
        return made


def _square() -> Array:
    """Points [2, n] of the square from -1 to 1."""
    steps = np.linspace(-1, 1, _POINTS)
    return np.stack([grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij")])


def _logits(probabilities: Array) -> Array:
    found: Array = logit(np.clip(probabilities, 1 - _SUREST, _SUREST))
    return found
