"""How far a classifier's confidence is from its accuracy: the bins of a reliability diagram, and their mean gap.

The metric and the plot are made of the same bins, so the number in the title is the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# "On Calibration of Modern Neural Networks", Guo et al. 2017 (arXiv 1706.04599), section 4.1 and table 1: M = 15.
BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBins:
    """Equal bins ((m-1)/M, m/M] of the confidence; the first one holds 0 as well.

    Attributes:
        edges: [bins + 1].
        counts: samples per bin.
        confidence: mean confidence per bin, NaN where empty.
        accuracy: share that was right per bin, NaN where empty.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error (Guo et al. 2017, eq. 3)."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.sum(gaps * self.counts[filled]) / self.counts.sum())


def reliability(probabilities: NDArray[Any], targets: NDArray[Any], *, bins: int = BINS) -> ReliabilityBins:
    """The confidence in the predicted class against how often it is right.

    Args:
        probabilities: [n, classes].
        targets: [n] class numbers.
        bins: number of equal bins.
    """
    confidences = np.clip(probabilities.max(axis=1).astype(np.float64), 0.0, 1.0)
    hits = probabilities.argmax(axis=1) == targets
    edges = np.linspace(0.0, 1.0, bins + 1)
    number = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    divisor = np.where(counts > 0, counts, np.nan)
    return ReliabilityBins(
        edges=edges,
        counts=counts,
        confidence=np.bincount(number, weights=confidences, minlength=bins) / divisor,
        accuracy=np.bincount(number, weights=hits, minlength=bins) / divisor,
    )
