"""Many columns of categories counted at once, by their numbers in a vocabulary instead of their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forgeline.distributions.categorical import CategoricalCounts, CategoricalReference

UNKNOWN, MISSING = -1, 0
"""Codes of a value that the vocabulary lacks, and of none; category i of the vocabulary has the code i + 1."""


class CategoricalBlock:
    """Counts of columns, added to in place.

    Args:
        references: one per column.
        vocabularies: the names that the codes of each column stand for.
    """

    def __init__(self, references: Sequence[CategoricalReference], vocabularies: Sequence[Sequence[str]]) -> None:
        # Of a column: its known categories, then other, then missing.
        self._known = [len(reference.counts) for reference in references]
        self._first = np.cumsum([0, *(known + 2 for known in self._known)])
        tables = []
        for reference, vocabulary, first in zip(references, vocabularies, self._first.tolist(), strict=False):
            other = first + len(reference.counts)
            place = {name: first + number for number, name in enumerate(reference.counts)}
            tables.append(np.asarray([other, other + 1, *(place.get(name, other) for name in vocabulary)]))
        self._slot = np.concatenate([np.zeros(0, dtype=np.int64), *tables])
        starts = np.cumsum([0, *map(len, tables)])[:-1]
        self._first_code = starts - UNKNOWN
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self._counts = np.zeros(int(self._first[-1]), dtype=np.int64)

    def add(self, codes: NDArray[np.int64]) -> None:
        """Count the codes of rows [n, columns]."""
        slots = self._slot.take(codes + self._first_code)
        self._counts += np.bincount(slots.reshape(-1), minlength=len(self._counts))

    def counts(self) -> list[CategoricalCounts]:
        """What was counted since the last `clear`, per column."""
        return [
            CategoricalCounts(
                known=self._counts[first : first + known].copy(),
                other=int(self._counts[first + known]),
                missing=int(self._counts[first + known + 1]),
            )
            for first, known in zip(self._first.tolist(), self._known, strict=False)
        ]
