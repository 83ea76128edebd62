"""Raw data in pieces that are encoded one at a time, so that memory does not grow with what is predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.bundle.tables import PIECE_ROWS, TableFile, is_table
from forgeline.preprocessing.reading import existing
from forgeline.preprocessing.tabular import as_frame

if TYPE_CHECKING:
    from forgeline.bundle.bundle import Bundle

# Decoded images and long series are large; texts of a piece are filled up to the longest among them.
PIECE_SAMPLES = 1024


def pieces_of(bundle: Bundle, raw: Any, *, rows: int | None = None) -> Iterator[Any]:
    """What `raw` (data or a path) holds, in order, in pieces that `predict_piece` takes.

    Args:
        rows: of a table, in a piece; None for `PIECE_ROWS`.

    Raises:
        DataError: a file is missing, empty or cannot be read.
    """
    preprocessing = bundle.preprocessing
    if isinstance(raw, Path) or (isinstance(raw, str) and preprocessing.kind != "text"):
        path = existing(raw)
        if preprocessing.kind == "table" and is_table(path):
            yield from TableFile(path, texts=preprocessing.texts).pieces(rows)
            return
        raw = preprocessing.read(path)
    yield from _split(preprocessing.kind, raw, rows)


def _split(kind: str, raw: Any, rows: int | None) -> Iterator[Any]:
    """A table by rows, samples by number; whatever is one sample, or needs its neighbours, stays whole."""
    size = (rows or PIECE_ROWS) if kind == "table" else PIECE_SAMPLES
    if kind == "table":
        # Rows of any form are numbered here, through all pieces.
        table = as_frame(raw)
        yield from (table.iloc[start : start + size] for start in range(0, max(len(table), 1), size))
    elif _is_samples(kind, raw) and len(raw) > size:
        yield from (raw[start : start + size] for start in range(0, len(raw), size))
    else:
        yield raw


def _is_samples(kind: str, raw: Any) -> bool:
    if isinstance(raw, list | tuple):
        return True
    # The first axis of [h, w, c] is not samples; of four axes it always is.
    axes = {"image": 4, "captions": 4, "series": 3}.get(kind)
    return axes is not None and getattr(raw, "ndim", 0) == axes and not hasattr(raw, "columns")
