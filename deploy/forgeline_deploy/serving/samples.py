"""Samples on their way from a request to a replica: raw data of one form, which can be cut and put together.

A request of many samples is cut into pieces that fit a batch; a batch is made of the pieces of many requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Form = Literal["rows", "texts", "pixels", "series", "files"]
"""Mappings of a table; texts; pixels [n, h, w] or [n, h, w, c]; series [n, t, c]; bytes of PNG and JPEG files."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one form: a list, or an array along its first axis."""

    form: Form
    values: Any

    def __len__(self) -> int:
        return len(self.values)

    def pieces(self, most: int) -> Iterator[Samples]:
        """Consecutive pieces of at most `most` samples."""
        if len(self) <= most:
            yield self
            return
        for start in range(0, len(self), most):
            yield Samples(self.form, self.values[start : start + most])

    def goes_with(self, other: Samples) -> bool:
        """Whether both can be encoded in one go, with the result that each has alone."""
        if self.form != other.form:
            return False
        if self.form not in ("pixels", "series"):
            return True
        # Whether pixels are fractions is told by the kind of their numbers, and by their greatest: see `joined`.
        return bool(self.values.shape[1:] == other.values.shape[1:] and self.values.dtype == other.values.dtype)


def joined(pieces: Sequence[Samples]) -> Samples:
    """Pieces that go with each other, as one."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if first.form in ("pixels", "series"):
        return Samples(first.form, np.concatenate([piece.values for piece in pieces]))
    return Samples(first.form, [value for piece in pieces for value in piece.values])


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """Whose samples they are.

    Attributes:
        request_id: of the request.
        arrival: when it reached the ingress, in Unix seconds.
        role: for which it is asked.
    """

    request_id: str
    arrival: float
    role: str = "champion"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a replica gets in one call: pieces, and to whom each belongs."""

    pieces: Sequence[Samples]
    tickets: Sequence[Ticket]

    def __len__(self) -> int:
        return sum(len(piece) for piece in self.pieces)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a replica returns.

    Attributes:
        columns: predictions of the pieces that were answered, one after the other.
        refused: number of a piece -> what is wrong with its samples.
        failed: numbers of pieces that the model itself failed on.
        encode_s: seconds from raw data to arrays.
        forward_s: seconds in the model.
    """

    columns: dict[str, Any]
    refused: dict[int, str] = field(default_factory=dict)
    failed: frozenset[int] = frozenset()
    encode_s: float = 0.0
    forward_s: float = 0.0
