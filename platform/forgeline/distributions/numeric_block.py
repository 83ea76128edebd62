"""Many columns of numbers counted at once, into the very numbers that each column's reference would count alone.

A batch of a serving replica is small and wide: a call of NumPy for each of its columns costs more than all its values.
So the edges of all columns lie in one array, and every value walks down its own column's edges, all values in step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forgeline.distributions.numeric import FARTHEST_STD, STEPS_PER_STD, NumericCounts, NumericReference

# Values that are counted together: their intermediate results stay within a processor's cache.
_AT_ONCE = 2**18


class NumericBlock:
    """Counts of columns, added to in place.

    Args:
        references: one per column.
    """

    def __init__(self, references: Sequence[NumericReference]) -> None:
        self._bins = [len(reference.counts) for reference in references]
        # (edge, next edge] as in the reference; just below the minimum, and at the maximum, begins what is outside.
        edges = [
            [np.nextafter(reference.minimum, -np.inf), *reference.edges, reference.maximum] for reference in references
        ]
        self._strides = [2**level for level in reversed(range(max(map(len, edges), default=1).bit_length()))]
        width = 2 ** len(self._strides) - 1
        self._edges = np.asarray([column + [np.inf] * (width - len(column)) for column in edges]).reshape(-1)
        # Of a column: below, its bins, above, and last of all missing.
        self._slots = max(self._bins, default=0) + 3
        numbers = np.arange(len(references))
        self._first_edge, self._first_slot = numbers * width, numbers * self._slots
        self._mean = np.asarray([reference.mean for reference in references])
        self._scale = np.asarray([reference.deviation or 1.0 for reference in references])
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        columns = len(self._bins)
        self._counts = np.zeros(columns * self._slots, dtype=np.int64)
        self._steps = np.zeros(columns, dtype=np.int64)
        self._minimum = np.full(columns, np.nan)
        self._maximum = np.full(columns, np.nan)

    def add(self, values: NDArray[np.float64]) -> None:
        """Count rows [n, columns]; NaN is missing."""
        rows = max(1, _AT_ONCE // max(values.shape[1], 1))
        for start in range(0, len(values) if values.shape[1] else 0, rows):
            self._add(values[start : start + rows] + 0.0)  # -0.0 becomes 0.0

    def _add(self, values: NDArray[np.float64]) -> None:
        missing = np.isnan(values)
        at = np.broadcast_to(self._first_edge, values.shape).copy()
        for stride in self._strides:
            at += (self._edges.take(at + (stride - 1)) < values) * stride
        at += self._first_slot - self._first_edge
        distances = values - self._mean
        if missing.any():
            np.copyto(at, self._first_slot + (self._slots - 1), where=missing)
            distances[missing] = 0.0
        with np.errstate(over="ignore"):  # so far out is as far as any value counts
            distances /= self._scale
        self._counts += np.bincount(at.reshape(-1), minlength=len(self._counts))
        np.clip(distances, -FARTHEST_STD, FARTHEST_STD, out=distances)
        distances *= STEPS_PER_STD
        self._steps += np.rint(distances, out=distances).astype(np.int64).sum(axis=0)
        self._minimum = np.fmin(self._minimum, np.fmin.reduce(values, axis=0))
        self._maximum = np.fmax(self._maximum, np.fmax.reduce(values, axis=0))

    def counts(self) -> list[NumericCounts]:
        """What was counted since the last `clear`, per column."""
        return [self._column(number, bins) for number, bins in enumerate(self._bins)]

    def _column(self, number: int, bins: int) -> NumericCounts:
        slots = self._counts[number * self._slots : (number + 1) * self._slots]
        low, high = float(self._minimum[number]), float(self._maximum[number])
        return NumericCounts(
            bins=slots[1 : bins + 1].copy(),
            below=int(slots[0]),
            above=int(slots[bins + 1]),
            missing=int(slots[-1]),
            steps=int(self._steps[number]),
            minimum=None if np.isnan(low) else low,
            maximum=None if np.isnan(high) else high,
        )
