"""A split that is held in memory as encoded arrays: a batch is one fancy index per array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from forgeline_jobs.data.base import Batch, Indices, Keys

Augment = Callable[[Batch, Indices, Keys], Batch]


class ArraySplit:
    """Encoded samples along the first axis of every array.

    Args:
        arrays: inputs and `target`, all of the same length.
        augment: changes a batch that it may overwrite; only called with keys, that is in training.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], *, augment: Augment | None = None) -> None:
        self._arrays = dict(arrays)
        self._augment = augment
        self._length = len(next(iter(self._arrays.values())))

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`, augmented where keys are given."""
        batch = {name: array.take(indices, axis=0) for name, array in self._arrays.items()}
        if rng_keys is not None and self._augment is not None:
            return self._augment(batch, indices, rng_keys)
        return batch
