"""Data for generators: samples as they are, with what they were told to be, instead of targets.

A judge of what a generator made must know what the split's samples are even where the generator is not told: a split
gives their `attributes`, whatever the conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from forgeline.preprocessing.image import resize_pixels
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.base import Batch, Indices, Keys, Split

Condition = Literal["label", "none"]
LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Where points that are drawn from known distributions lie.

    Attributes:
        centres: [modes, columns] in the units of a batch.
        deviation: of each column around them, in the same units.
    """

    centres: NDArray[np.float64]
    deviation: float


class JudgedSplit(Split, Protocol):
    """A split whose samples have attributes, each one of so many values."""

    @property
    def attribute_cardinalities(self) -> tuple[int, ...]:
        """Values that each attribute can take; nothing where nothing is known of the samples."""

    def attributes(self, indices: Indices) -> NDArray[np.int64]:
        """The attributes [n, attributes] of the samples at `indices`."""


class LabelledSplit:
    """A split of a classification without its target: its label is an attribute and, where asked for, a condition.

    Args:
        split: gives a batch with `target`.
        labels: of the split's samples.
        cardinality: number of labels; with one only, nothing is known of the samples.
        condition: whether a batch has the label.
        modes: of points from known distributions.
    """

    def __init__(
        self,
        split: Split,
        labels: NDArray[np.int64],
        *,
        cardinality: int,
        condition: Condition,
        modes: Modes | None = None,
    ) -> None:
        self._split = split
        self._labels = labels
        self._condition = condition
        self.modes = modes
        self.attribute_cardinalities: tuple[int, ...] = (cardinality,) if cardinality > 1 else ()

    def __len__(self) -> int:
        return len(self._split)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`, augmented where keys are given, and their label where it is a condition."""
        batch = self._split.batch(indices, rng_keys)
        label = batch.pop("target")
        return {**batch, LABEL: label} if self._condition == "label" else batch

    def attributes(self, indices: Indices) -> NDArray[np.int64]:
        """The label of each sample, [n, 1]."""
        return self._labels[indices][:, None] if self.attribute_cardinalities else np.empty((len(indices), 0), np.int64)


def generation_signature(
    name: str, shape: tuple[int, ...], conditions: Mapping[str, int], *, source: str | None = None
) -> Signature:
    """The signature of samples `name` of a shape, made by labels or nothing, and by a `source` where named."""
    made = [name] if source is None else [name, source]
    labels = {condition: TensorSpec(shape=(), dtype="int64") for condition in conditions}
    return Signature(
        task="generation",
        inputs={each: TensorSpec(shape=shape, dtype="float32") for each in made} | labels,
        outputs=shape,
        conditions=dict(conditions),
        source=source,
    )


def squared(pixels_NHWC: NDArray[Any], size: int) -> NDArray[Any]:
    """Pictures [n, h, w, c] as squares of a side.

    Those that fit, and would fill more than half of the side, are put in the middle of black; others are resized.
    """
    _, height, width, _ = pixels_NHWC.shape
    longest = max(height, width)
    if longest <= size < 2 * longest:
        (above, below), (before, after) = ((gap // 2, gap - gap // 2) for gap in (size - height, size - width))
        return np.pad(pixels_NHWC, ((0, 0), (above, below), (before, after), (0, 0)))
    return resize_pixels(pixels_NHWC, (size, size))
