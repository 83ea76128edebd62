"""Many tests at once: which of them are findings, when a given share of false ones is tolerated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def adjusted(p_values: Sequence[float]) -> NDArray[np.float64]:
    """p-values [m] -> [m], in the same order: those at most q are findings with a false discovery rate of at most q.

    The procedure (1) of Y. Benjamini, Y. Hochberg: Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57 (1995), 289-300, written as the smallest q at which each would be found. It holds for
    independent tests, and for positively dependent ones (Y. Benjamini, D. Yekutieli, Annals of Statistics 29 (2001),
    1165-1188).

    >>> adjusted([0.01, 0.5, 0.02]).tolist()
    [0.03, 0.5, 0.03]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    scaled = given[order] * len(given) / np.arange(1, len(given) + 1)
    found = np.empty_like(given)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found


def together(p_values: Sequence[float]) -> float:
    """One p-value of several tests of one column: Bonferroni's, which asks nothing about how they depend."""
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0
