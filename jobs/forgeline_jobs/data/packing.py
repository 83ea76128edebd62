"""Documents packed into rows of one length, so that short ones do not leave a row half empty.

Every document (closed by the end token) is cut into pieces of at most `context` inputs; the longest pieces are placed
first, each into the fullest row that still has room (best fit decreasing). `segments` numbers the pieces of a row from
0, and attention must not cross them; what stays empty is one more segment whose targets are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.base import Batch, Indices, Keys

IGNORED = -100


@dataclass(frozen=True, slots=True)
class _Piece:
    document: int
    start: int
    length: int


class PackedSplit:
    """Packed rows with `tokens`, `segments` and `target`, each [rows, context].

    Args:
        documents: token numbers of each document, closed by its end token.
        context: length of a row.
    """

    def __init__(self, documents: Sequence[Indices], context: int) -> None:
        rows = pack([len(document) - 1 for document in documents], context)
        shape = (len(rows), context)
        self._tokens = np.zeros(shape, dtype=np.int32)
        self._target = np.full(shape, IGNORED, dtype=np.int32)
        self._segments = np.zeros(shape, dtype=np.int32)
        for number, pieces in enumerate(rows):
            place = 0
            for segment, piece in enumerate(pieces):
                source = documents[piece.document][piece.start : piece.start + piece.length + 1]
                self._tokens[number, place : place + piece.length] = source[:-1]
                self._target[number, place : place + piece.length] = source[1:]
                self._segments[number, place : place + piece.length] = segment
                place += piece.length
            self._segments[number, place:] = len(pieces)

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def fill(self) -> float:
        """Share of the places that hold text."""
        return float((self._target != IGNORED).mean()) if len(self) else 0.0

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """Whole rows; there is nothing random about them."""
        rows: dict[str, NDArray[np.int32]] = {
            "tokens": self._tokens,
            "segments": self._segments,
            "target": self._target,
        }
        return {name: array[indices].astype(np.int64) for name, array in rows.items()}


def pack(lengths: Sequence[int], context: int) -> list[list[_Piece]]:
    """Rows of pieces that cover documents of these lengths, each place of a document exactly once."""
    pieces = [
        _Piece(document, start, min(context, length - start))
        for document, length in enumerate(lengths)
        for start in range(0, length, context)
    ]
    pieces.sort(key=lambda piece: -piece.length)
    rows: list[list[_Piece]] = []
    # Rows by the room that they have left: the best fit is the first that is not empty from the piece's length up.
    by_room: list[list[int]] = [[] for _ in range(context + 1)]
    for piece in pieces:
        room = next((room for room in range(piece.length, context + 1) if by_room[room]), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, context
        else:
            row = by_room[room].pop()
        rows[row].append(piece)
        by_room[room - piece.length].append(row)
    return rows
