"""A split that is held in memory as encoded arrays: a batch is one fancy index per array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
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

    def joined(self, other: ArraySplit) -> ArraySplit:
        """The samples of both, those of the other one behind, changed in training as this one's are.

        Raises:
            ValueError: samples of the two differ in shape.
        """
        for name, array in self._arrays.items():
            shapes = array.shape[1:], other._arrays[name].shape[1:]
            if shapes[0] != shapes[1]:
                raise ValueError(f"{name} is {list(shapes[0])} in one and {list(shapes[1])} in the other")
        both = {name: np.concatenate([array, other._arrays[name]]) for name, array in self._arrays.items()}
        return ArraySplit(both, augment=self._augment)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`, augmented where keys are given."""
        batch = {name: array.take(indices, axis=0) for name, array in self._arrays.items()}
        if rng_keys is not None and self._augment is not None:
            return self._augment(batch, indices, rng_keys)
        return batch
