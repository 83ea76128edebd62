"""Counts of a feature as one vector of cells: missing values first, what lies outside the reference at the ends.

Cells of numbers [K]: missing, below, the bins, above. Cells of categories [K]: missing, the named ones, other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference

if TYPE_CHECKING:
    from forgeline.bundle.observation import Counts
    from forgeline.bundle.reference import Distribution

Integers = NDArray[np.int64]


def of_reference(distribution: Distribution) -> Integers:
    """The reference's own counts by cell [K]."""
    if isinstance(distribution, NumericReference):
        return np.asarray([distribution.missing, 0, *distribution.counts, 0], dtype=np.int64)
    return np.asarray([distribution.missing, *distribution.counts.values(), distribution.other], dtype=np.int64)


def of_window(distribution: Distribution, counts: Counts) -> Integers:
    """A window's counts by cell [K].

    Raises:
        ValueError: they are not of this feature.
    """
    if isinstance(distribution, NumericReference) and isinstance(counts, NumericCounts):
        if len(counts.bins) == len(distribution.counts):
            return np.concatenate([[counts.missing, counts.below], counts.bins, [counts.above]]).astype(np.int64)
    elif (
        isinstance(distribution, CategoricalReference)
        and isinstance(counts, CategoricalCounts)
        and len(counts.known) == len(distribution.counts)
    ):
        return np.concatenate([[counts.missing], counts.known, [counts.other]]).astype(np.int64)
    raise ValueError(f"these counts were not made with this {distribution.kind} reference")
