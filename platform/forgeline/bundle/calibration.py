"""How often a classifier was right where it was so sure: what an accuracy without labels is estimated from.

Counted on held-out rows in the bins that its probability is watched in, so that counts of a window are all it takes.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.distributions import NumericReference
from forgeline.distributions.limits import Count

_MOST_BINS = 1024


class Calibration(BaseModel):
    """Held-out rows by the probability of their predicted class, in the bins of a reference.

    Attributes:
        rows: per bin.
        correct: those whose class was predicted.
        probability: mean probability of the predicted class; of a bin without rows, its middle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rows: tuple[Count, ...] = Field(min_length=1, max_length=_MOST_BINS)
    correct: tuple[Count, ...]
    probability: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    @model_validator(mode="after")
    def _is_of_the_same_bins(self) -> Self:
        lengths = len(self.rows), len(self.correct), len(self.probability)
        if len(set(lengths)) > 1:
            raise ValueError(f"rows, correct and probability have {lengths} bins; they must have the same ones")
        if any(right > rows for right, rows in zip(self.correct, self.rows, strict=True)):
            raise ValueError("correct must be at most rows in every bin")
        return self

    @classmethod
    def of(cls, bins: NumericReference, probabilities: NDArray[Any], targets: NDArray[Any]) -> Calibration:
        """Of held-out rows.

        Args:
            bins: of the probability of the predicted class.
            probabilities: of all classes [n, classes].
            targets: numbers of the true classes [n].
        """
        wide = np.asarray(probabilities, dtype=np.float64)
        certain = wide.max(axis=1)
        places = np.searchsorted(np.asarray(bins.edges), certain, side="left")
        count = len(bins.counts)
        rows = np.bincount(places, minlength=count)
        correct = np.bincount(places[wide.argmax(axis=1) == targets], minlength=count)
        sums = np.bincount(places, weights=certain, minlength=count)
        borders = np.asarray([bins.minimum, *bins.edges, bins.maximum])
        means = np.where(rows > 0, sums / np.maximum(rows, 1), (borders[:-1] + borders[1:]) / 2)
        return cls(
            rows=tuple(map(int, rows)),
            correct=tuple(map(int, correct)),
            probability=tuple(map(float, np.clip(means, 0.0, 1.0))),
        )
