"""Data for autoencoders: samples to be given back as they are, or as they were before noise was added to them.

Which samples are anomalies is known of val and test and never shown: it is the target, by which metrics are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget
from forgeline.preprocessing.target import label_text
from forgeline.suggestions import did_you_mean
from forgeline_jobs.data.base import Batch, Indices, Keys, PreparedData, Split, as_int64
from forgeline_jobs.data.randomness import normal
from forgeline_jobs.data.splits import SplitIndices

# Seed and epoch of the noise where nothing is trained: a sample is measured under the same noise always.
_MEASURED: Keys = (0, 0)


class ReconstructionSplit:
    """A split of pictures from -1 to 1, of which `image` is shown and, where that has noise, `clean` is wanted.

    Args:
        split: gives a batch with `image` and `target`.
        anomalous: [n] 1 for the split's anomalies, 0 for its normal samples; the target.
        noise: deviation of the noise, as a share of the brightest value; what leaves the range is clipped.
    """

    def __init__(self, split: Split, anomalous: NDArray[np.int64], *, noise: float) -> None:
        self._split = split
        self._anomalous = anomalous
        self._noise = noise

    @property
    def undisturbed(self) -> ReconstructionSplit:
        """The same samples without noise."""
        return ReconstructionSplit(self._split, self._anomalous, noise=0.0)

    def __len__(self) -> int:
        return len(self._split)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`, augmented where keys are given; each epoch draws other noise."""
        batch = {**self._split.batch(indices, rng_keys), "target": self._anomalous[indices]}
        if not self._noise:
            return batch
        clean = batch["image"]
        drawn = normal(rng_keys or _MEASURED, indices, int(np.prod(clean.shape[1:])), stream="denoise")
        noisy = clean + np.float32(2 * self._noise) * drawn.reshape(clean.shape)
        return {**batch, "image": noisy.clip(-1.0, 1.0), "clean": clean}


def undisturbed(data: PreparedData) -> PreparedData:
    """Data as `predict` gets them, without noise; any others as they are."""
    splits = {
        name: split.undisturbed if isinstance(split, ReconstructionSplit) else split
        for name, split in data.splits.items()
    }
    return replace(data, splits=splits)


def class_numbers(normal_classes: Sequence[Any], target: ClassTarget) -> NDArray[np.int64]:
    """The numbers of the classes that are normal.

    Raises:
        DataError: the data have no such class.
    """
    names = [str(label_text(name)) for name in normal_classes]
    for name in names:
        if name not in target.classes:
            raise DataError(f"no class is called {name!r}; {did_you_mean(name, target.classes)}", key="data.normal")
    return as_int64([target.classes.index(name) for name in names])


def keep_normal(indices: SplitIndices, classes: NDArray[np.int64], kept: NDArray[np.int64]) -> SplitIndices:
    """Only samples of the classes `kept` in train and val; test as it was."""
    train, val = (part[np.isin(classes[part], kept)] for part in (indices.train, indices.val))
    return SplitIndices(train=train, val=val, test=indices.test)
