"""What a model was asked about, counted in the bins of its reference statistics.

Observations of parts add up to the observation of the whole, exactly and in any order, so that each of many replicas
may count for itself, and windows of time be joined. An `Observer` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from forgeline.bundle.reference import LARGEST_BYTES, Distribution, Reference
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference
from forgeline.distributions.limits import Count, read_checked
from forgeline.errors import DataError

FORMAT = 1
Counts = NumericCounts | CategoricalCounts


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Counts of rows. `+` merges.

    Attributes:
        rows: how many samples.
        inputs: by the names that the reference has them under.
        outputs: of the model, by the names that the reference has them under; empty where it was not asked.
    """

    rows: int
    inputs: Mapping[str, Counts]
    outputs: Mapping[str, Counts] = field(default_factory=dict)

    def __add__(self, other: Observation) -> Observation:
        return Observation(
            rows=self.rows + other.rows,
            inputs=_merged(self.inputs, other.inputs),
            outputs=_merged(self.outputs, other.outputs),
        )

    def to_json(self) -> dict[str, Any]:
        """As mappings, lists and whole numbers, which replicas send and windows are stored as."""
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        named = {side: {name: counts.to_json() for name, counts in held.items()} for side, held in sides.items()}
        return {"format": FORMAT, "rows": self.rows, **named}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Observation:
        """What `to_json` gave, from wherever it comes.

        Raises:
            DataError: it is of a newer format, or no counts of any rows.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            given = value.get("format") if isinstance(value, Mapping) else type(value).__name__
            raise DataError(f"an observation has the format {given!r}; allowed: {FORMAT}")
        read = read_checked(_ObservationJson, value)
        return cls(rows=read.rows, inputs=_counts(read.inputs), outputs=_counts(read.outputs))

    def to_bytes(self) -> bytes:
        """As JSON in UTF-8."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Observation:
        """What `to_bytes` gave, from wherever it comes.

        Raises:
            DataError: it is too large, or not what `to_bytes` gives.
        """
        if len(content) > LARGEST_BYTES:
            raise DataError(f"an observation has {len(content):,} bytes; allowed: at most {LARGEST_BYTES:,}")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"an observation cannot be read as JSON: {error}") from error
        return cls.from_json(value)

    def check_fits(self, reference: Reference) -> None:
        """Check that the counts are in the bins and categories of a reference.

        Raises:
            DataError: a name, a kind or a number of bins is another.
        """
        for known, seen in ((reference.inputs, self.inputs), (reference.outputs, self.outputs)):
            for name, counts in seen.items():
                wanted, found = _layout(known.get(name)), _layout(counts)
                if wanted != found:
                    raise DataError(f"the counts of {name!r} are {found}; the reference statistics have {wanted}")


class _ObservationJson(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    rows: Count
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]


def _counts(named: Mapping[str, Mapping[str, Any]]) -> dict[str, Counts]:
    """Raises DataError, with the name, for what are no counts."""
    read: dict[str, Counts] = {}
    for name, value in named.items():
        try:
            kind = CategoricalCounts if value.get("kind") == "categorical" else NumericCounts
            read[name] = kind.from_json(value)
        except DataError as error:
            raise DataError(f"{name!r}: {error.message}") from error
    return read


def _layout(held: Distribution | Counts | None) -> str:
    if isinstance(held, NumericReference | NumericCounts):
        return f"numbers in {len(held.counts if isinstance(held, NumericReference) else held.bins)} bins"
    if isinstance(held, CategoricalReference | CategoricalCounts):
        return f"{len(held.counts if isinstance(held, CategoricalReference) else held.known)} categories"
    return "nothing"


def _merged(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    if one.keys() != other.keys():
        raise ValueError(f"observations of {sorted(one)} and of {sorted(other)} are not of one model")
    return {name: _sum(one[name], other[name]) for name in one}


def _sum(one: Counts, other: Counts) -> Counts:
    if isinstance(one, NumericCounts) and isinstance(other, NumericCounts):
        return one + other
    if isinstance(one, CategoricalCounts) and isinstance(other, CategoricalCounts):
        return one + other
    raise ValueError("counts of numbers and of categories are not of one column")
