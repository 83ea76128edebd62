"""How long requests took: counts in fixed buckets, which merge exactly and give quantiles that are never too low."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 80
_FIRST_S = 5e-4
_RATIO = 1.2
EDGES_S: NDArray[np.float64] = np.append(_FIRST_S * _RATIO ** np.arange(BUCKETS - 1), np.inf)
"""Upper edges [80] in seconds: from half a millisecond, each a fifth wider than the one before, to 13 minutes."""


@dataclass(frozen=True, eq=False)
class LatencyCounts:
    """Requests by how long they took. `+` merges; equal when they have the same numbers.

    Attributes:
        buckets: int64 [80], requests that took up to the bucket's edge in `EDGES_S` and longer than the one before.
    """

    buckets: NDArray[np.int64]

    @classmethod
    def of(cls, seconds: Iterable[float] = ()) -> LatencyCounts:
        """Counts of durations in seconds; a negative one, by a clock that was set back, counts as none."""
        given = np.fromiter(seconds, dtype=np.float64)
        placed = np.searchsorted(EDGES_S, np.maximum(np.nan_to_num(given), 0.0), side="left")
        return cls(np.bincount(placed, minlength=BUCKETS).astype(np.int64))

    @property
    def requests(self) -> int:
        """How many."""
        return int(self.buckets.sum())

    def quantile_s(self, share: float) -> float | None:
        """The upper edge of the bucket in which this share of the requests ends, in seconds; None of no requests."""
        if not self.requests:
            return None
        reached = np.searchsorted(np.cumsum(self.buckets), np.ceil(share * self.requests), side="left")
        # The last bucket has no upper edge: what is known is that it took longer than this.
        return float(EDGES_S[min(int(reached), BUCKETS - 2)])

    def surely_over(self, bound_s: float) -> int:
        """Requests that took longer than a bound for certain: those in the bucket that it divides may not have."""
        lower = np.concatenate([[0.0], EDGES_S[:-1]])
        return int(self.buckets[lower >= bound_s].sum())

    def __add__(self, other: LatencyCounts) -> LatencyCounts:
        return LatencyCounts(self.buckets + other.buckets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatencyCounts) and np.array_equal(self.buckets, other.buckets)
