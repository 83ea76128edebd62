"""A column of numbers: reference bins of equal shares, and counts in them that merge exactly.

Counts of parts add up to the counts of the whole bit for bit, in any order: everything that is summed is an integer,
the mean too (each value is rounded to 2^-20 reference deviations before it is added). Of a column they take under 1 KB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.distributions.limits import Count, read_checked

BINS = 64
# More would be no summary; the bins of references that were made with other settings are read as well.
_MOST_BINS = 1024
# Of a reference deviation: the smallest step of a value in a sum, and how far out a value still counts as it is. 2^30
# per value leaves int64 room for 2^33 values.
STEPS_PER_STD = 2**20
FARTHEST_STD = 2**10


@dataclass(frozen=True, kw_only=True, eq=False)
class NumericCounts:
    """Values of one column in the bins of a reference. `+` merges; two are equal when they have the same numbers.

    Attributes:
        bins: int64 [bins], values inside the range of the reference.
        below, above: values under its minimum and over its maximum.
        missing: missing values, not part of the rest.
        steps: sum of the values' distances from the reference mean, in 2^-20 reference deviations.
        minimum, maximum: of the values; None where there are none.
    """

    bins: NDArray[np.int64]
    below: int
    above: int
    missing: int
    steps: int
    minimum: float | None
    maximum: float | None

    @property
    def rows(self) -> int:
        """Values, missing ones included."""
        return self.known + self.missing

    @property
    def known(self) -> int:
        """Values that are not missing."""
        return int(self.bins.sum()) + self.below + self.above

    @property
    def shift_std(self) -> float | None:
        """Distance of the mean from the reference mean, in reference deviations; None without values."""
        return self.steps / (STEPS_PER_STD * self.known) if self.known else None

    def __add__(self, other: NumericCounts) -> NumericCounts:
        if self.bins.shape != other.bins.shape:
            raise ValueError(f"counts in {len(self.bins)} and in {len(other.bins)} bins are not of one reference")
        lows = [low for low in (self.minimum, other.minimum) if low is not None]
        highs = [high for high in (self.maximum, other.maximum) if high is not None]
        return NumericCounts(
            bins=self.bins + other.bins,
            below=self.below + other.below,
            above=self.above + other.above,
            missing=self.missing + other.missing,
            steps=self.steps + other.steps,
            minimum=min(lows, default=None),
            maximum=max(highs, default=None),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumericCounts):
            return NotImplemented
        return np.array_equal(self.bins, other.bins) and self._rest() == other._rest()

    def _rest(self) -> tuple[Any, ...]:
        return self.below, self.above, self.missing, self.steps, self.minimum, self.maximum

    def to_json(self) -> dict[str, Any]:
        """As plain numbers; an infinite minimum or maximum is the text `inf` or `-inf`: JSON has no such number."""
        return {
            "kind": "numeric",
            "bins": self.bins.tolist(),
            "below": self.below,
            "above": self.above,
            "missing": self.missing,
            "steps": self.steps,
            "minimum": _plain(self.minimum),
            "maximum": _plain(self.maximum),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NumericCounts:
        """What `to_json` gave, from wherever it comes.

        Raises:
            DataError: they cannot be counts of any values.
        """
        read = read_checked(_NumericJson, value)
        return cls(
            bins=np.asarray(read.bins, dtype=np.int64),
            below=read.below,
            above=read.above,
            missing=read.missing,
            steps=read.steps,
            minimum=read.minimum,
            maximum=read.maximum,
        )


class _NumericJson(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["numeric"]
    bins: Annotated[tuple[Count, ...], Field(min_length=1, max_length=_MOST_BINS)]
    below: Count
    above: Count
    missing: Count
    steps: Annotated[int, Field(strict=True)]
    minimum: float | None
    maximum: float | None

    @model_validator(mode="after")
    def _is_of_some_values(self) -> Self:
        known = sum(self.bins) + self.below + self.above
        if abs(self.steps) > known * STEPS_PER_STD * FARTHEST_STD or abs(self.steps) >= 2**63:
            raise ValueError(f"{self.steps} steps are more than {known} values can have")
        if (self.minimum is None, self.maximum is None) != (known == 0, known == 0):
            raise ValueError(f"{known} values have a minimum and a maximum where there are any, and only then")
        # Not "minimum > maximum": that would let NaN pass.
        if self.minimum is not None and self.maximum is not None and not self.minimum <= self.maximum:
            raise ValueError(f"minimum is {self.minimum:g} and maximum {self.maximum:g}; they must be in this order")
        return self


def _plain(value: float | None) -> float | str | None:
    return value if value is None or np.isfinite(value) else str(value)


class NumericReference(BaseModel):
    """Numbers, as counts in bins that each held the same share of the reference.

    Attributes:
        edges: inner edges, ascending; bin i is (edges[i-1], edges[i]], the first begins at the minimum, the last ends
            at the maximum.
        counts: values per bin, one more than edges.
        missing: values that were missing, not part of the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["numeric"] = "numeric"
    edges: tuple[float, ...] = Field(max_length=_MOST_BINS - 1)
    counts: tuple[Count, ...] = Field(max_length=_MOST_BINS)
    missing: Count
    mean: float
    std: Annotated[float, Field(ge=0)]
    minimum: float
    maximum: float

    @model_validator(mode="after")
    def _bins_are_in_order(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges make {len(self.edges) + 1} bins, got {len(self.counts)} counts")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must ascend")
        inside = not self.edges or (self.minimum <= self.edges[0] and self.edges[-1] < self.maximum)
        if not inside or self.minimum > self.maximum:
            raise ValueError(f"edges lie outside the range {self.minimum:g} to {self.maximum:g}")
        return self

    @classmethod
    def of(cls, values: NDArray[Any], *, bins: int = BINS, resolution: float | None = None) -> NumericReference:
        """The reference of values [n] in which NaN is missing.

        Args:
            bins: at most so many.
            resolution: edges, minimum and maximum lie on multiples of it, for values that come out a little different
                each time, such as a network's outputs.
        """
        wide = np.asarray(values, dtype=np.float64).ravel()
        known = wide[np.isfinite(wide)] + 0.0  # -0.0 becomes 0.0
        if not len(known):
            return cls(edges=(), counts=(0,), missing=len(wide), mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
        edges, low, high = _edges(known, bins), float(known.min()), float(known.max())
        if resolution is not None:
            edges = np.unique(np.round(edges / resolution) * resolution)
            low, high = float(np.floor(low / resolution) * resolution), float(np.ceil(high / resolution) * resolution)
        edges = edges[(edges >= low) & (edges < high)]
        return cls(
            edges=tuple(map(float, edges)),
            counts=tuple(map(int, _binned(known, edges))),
            missing=len(wide) - len(known),
            mean=float(known.mean()),
            std=0.0 if known.min() == known.max() else float(known.std()),
            minimum=low,
            maximum=high,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 of a constant, of which rounding may have left a trace in older references."""
        return self.std if self.std > 1e-12 * abs(self.mean) else 0.0

    def count(self, values: NDArray[Any]) -> NumericCounts:
        """Other values [n], counted in the same bins; NaN is missing."""
        wide = np.asarray(values, dtype=np.float64).ravel()
        known = wide[~np.isnan(wide)] + 0.0
        below, above = known < self.minimum, known > self.maximum
        with np.errstate(over="ignore"):  # so far out is as far as any value counts
            distances = (known - self.mean) / (self.deviation or 1.0)
        steps = np.rint(np.clip(distances, -FARTHEST_STD, FARTHEST_STD) * STEPS_PER_STD)
        return NumericCounts(
            bins=_binned(known[~(below | above)], np.asarray(self.edges)),
            below=int(below.sum()),
            above=int(above.sum()),
            missing=len(wide) - len(known),
            steps=int(steps.astype(np.int64).sum()),
            minimum=float(known.min()) if len(known) else None,
            maximum=float(known.max()) if len(known) else None,
        )


def _edges(known: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Inner edges between quantiles, ascending; a value that is several quantiles is set apart from those below it.

    Such a value takes the place of at least two edges, so that an edge just below it is never one too many.
    """
    ordered = np.sort(known)
    quantiles = np.quantile(ordered, np.linspace(0, 1, bins + 1)[1:-1], method="lower")
    distinct, times = np.unique(quantiles, return_counts=True)
    frequent = distinct[times > 1]
    starts = np.searchsorted(ordered, frequent, side="left")
    # Where the next lower value is an edge already, a bin between the two would be empty.
    apart = (starts > 0) & ~np.isin(ordered[starts - 1], distinct)
    return np.union1d(distinct, np.nextafter(frequent[apart], -np.inf))


def _binned(known: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1).astype(np.int64)
