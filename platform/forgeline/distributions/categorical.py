"""A column of categories: the most frequent ones by name, and counts of them that merge exactly.

Counts of parts add up to the counts of the whole in any order, since all are integers. Of a column they take under
1 KB, however large the vocabulary is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from forgeline.distributions.limits import Count, read_checked

# Rarer categories and tokens are counted together: a reference must not grow with a vocabulary. With `other` and
# `missing` these are 122 integers, and 976 bytes.
MOST_CATEGORIES = 120
# References that were made with other settings are read as well.
_MOST_READ = 1024
_LONGEST_NAME = 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoricalCounts:
    """Values of one column by the categories of a reference. `+` merges; equal when they have the same numbers.

    Attributes:
        known: int64 [categories], in the order of the reference.
        other: values of categories that the reference does not name.
        missing: missing values, not part of the rest.
    """

    known: NDArray[np.int64]
    other: int
    missing: int

    @property
    def rows(self) -> int:
        """Values, missing ones included."""
        return int(self.known.sum()) + self.other + self.missing

    def __add__(self, other: CategoricalCounts) -> CategoricalCounts:
        if self.known.shape != other.known.shape:
            raise ValueError(
                f"counts of {len(self.known)} and of {len(other.known)} categories are not of one reference"
            )
        return CategoricalCounts(
            known=self.known + other.known, other=self.other + other.other, missing=self.missing + other.missing
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CategoricalCounts):
            return NotImplemented
        same = (self.other, self.missing) == (other.other, other.missing)
        return same and np.array_equal(self.known, other.known)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {"kind": "categorical", "known": self.known.tolist(), "other": self.other, "missing": self.missing}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CategoricalCounts:
        """What `to_json` gave, from wherever it comes.

        Raises:
            DataError: they cannot be counts of any values.
        """
        read = read_checked(_CategoricalJson, value)
        return cls(known=np.asarray(read.known, dtype=np.int64), other=read.other, missing=read.missing)


class _CategoricalJson(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["categorical"]
    known: Annotated[tuple[Count, ...], Field(max_length=_MOST_READ)]
    other: Count
    missing: Count


class CategoricalReference(BaseModel):
    """Categories with their counts.

    Attributes:
        counts: per category, the most frequent first.
        other: values of the rarest categories, which are not in `counts`.
        missing: values that were missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["categorical"] = "categorical"
    counts: Annotated[
        dict[Annotated[str, StringConstraints(max_length=_LONGEST_NAME)], Count], Field(max_length=_MOST_READ)
    ]
    other: Count = 0
    missing: Count = 0

    @classmethod
    def of(cls, names: Iterable[str], counts: Iterable[int], *, missing: int = 0) -> CategoricalReference:
        """The reference of named counts; a name that is a text of its own is counted with the rarest."""
        ranked = sorted(zip(names, counts, strict=True), key=lambda item: -item[1])
        short = [(name, int(count)) for name, count in ranked if len(name) <= _LONGEST_NAME]
        kept = dict(short[:MOST_CATEGORIES])
        return cls(counts=kept, other=int(sum(count for _, count in ranked)) - sum(kept.values()), missing=missing)

    def count(self, seen: Mapping[str, int]) -> CategoricalCounts:
        """Other values, given as how often each category was seen; `""` is missing."""
        known = np.asarray([seen.get(name, 0) for name in self.counts], dtype=np.int64)
        missing = seen.get("", 0)
        return CategoricalCounts(known=known, other=sum(seen.values()) - missing - int(known.sum()), missing=missing)
