"""The calibration of a classifier as a gate judges it: the usual estimate is too large where samples are few.

- The plug-in error over bins is biased upwards, since chance alone moves a bin's share of right answers. Without its
  bias the mean square over bins can be had exactly (Kumar, Liang and Ma, NeurIPS 2019, definition 4.2), and its root is
  at least the expected calibration error of these bins.
- The bias points the safe way for an upper bound: given the confidences, one label moves the plug-in error by at most
  1/n, so McDiarmid's inequality bounds its mean, and with that the true error, for every n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationFigures:
    """How far confidences are from shares of right answers, over bins of equally many samples.

    Attributes:
        plug_in: the usual expected calibration error.
        debiased: root of the mean square over bins without its bias.
        upper: upper bound of the expected calibration error; None without a confidence.
        bins: how many there were; each has two samples or more.
        n: samples.
    """

    plug_in: float
    debiased: float
    upper: float | None
    bins: int
    n: int


def calibration_figures(
    confidences: NDArray[Any], right: NDArray[np.bool_], *, bins: int, confidence: float | None
) -> CalibrationFigures:
    """Measure calibration.

    Args:
        confidences: [n] probability of the likeliest class; two samples or more.
        right: [n] whether it was the true one.
        bins: of equally many samples; fewer where they would hold less than two.
        confidence: of the upper bound; None for none.
    """
    n = len(confidences)
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, max(1, min(bins, n // 2)))
    square = plug_in = 0.0
    for part in parts:
        share, accuracy = len(part) / n, float(right[part].mean())
        gap = accuracy - float(confidences[part].astype(np.float64).mean())
        plug_in += share * abs(gap)
        square += share * (gap**2 - accuracy * (1 - accuracy) / (len(part) - 1))
    upper = None
    if confidence is not None:
        upper = min(1.0, plug_in + math.sqrt(math.log(1 / (1 - confidence)) / (2 * n)))
    return CalibrationFigures(plug_in=plug_in, debiased=math.sqrt(max(square, 0.0)), upper=upper, bins=len(parts), n=n)
