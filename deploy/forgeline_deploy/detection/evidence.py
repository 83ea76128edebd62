"""The e-detector: evidence for a change at any time in the past, that a window adds to.

    M_t = (M_{t-1} + 1) L_t            (Shiryaev and Roberts, with e-values L_t for likelihood ratios)

Before any window M = 0. If E[L_t | past] <= 1 without drift then E[M_t | past] <= M_{t-1} + 1: M grows by at most one
a window on average, and takes c windows on average to reach c (Shin, Ramdas, Rinaldo 2024, Theorem 2.4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Far beyond any threshold, and so far from float64's end that sums of it are finite.
_MOST_LOG, MOST = 600.0, 1e280


def advanced(evidence: Floats, log_gains: Floats) -> Floats:
    """The evidence after a window that multiplies by exp(log_gains), shapes alike."""
    after: Floats = np.minimum((evidence + 1.0) * np.exp(np.minimum(log_gains, _MOST_LOG)), MOST)
    return after
