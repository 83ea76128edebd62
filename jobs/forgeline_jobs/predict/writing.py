"""Predictions piece by piece into one Parquet file, which appears whole or not at all. Runs in a Ray task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeline.bundle import Bundle
from forgeline.bundle.prediction import pieces_of
from forgeline.bundle.tables import TableFile
from forgeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the Ray task is told; paths are absolute, `temporary` lies beside `output`."""

    bundle: str
    input: str
    output: str
    temporary: str
    keep: tuple[str, ...]
    batch_size: int
    device: str


def write(task: Task) -> dict[str, Any]:
    """Predict in the order of the input.

    Returns:
        Number of rows and the file.

    Raises:
        DataError: the input cannot be read, or the model cannot take it.
    """
    bundle = Bundle.load(task.bundle)
    target = Path(task.output)
    temporary = Path(task.temporary)
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for piece, fields in _pieces(bundle, task):
            predictions = bundle.predict_piece(piece, batch_size=task.batch_size, device=task.device)
            batch = _with_kept(piece, fields, pa.Table.from_pandas(predictions, preserve_index=False))
            # Without pandas' own note in the metadata, which would be the first piece's.
            batch = batch.replace_schema_metadata(None)
            writer = writer or pq.ParquetWriter(temporary, batch.schema)
            writer.write_table(batch.cast(writer.schema))
            rows += batch.num_rows
        if writer is None:
            raise DataError(f"`{task.input}` holds nothing to predict", key="input")
        writer.close()
        temporary.replace(target)
    finally:
        if writer is not None:
            writer.close()
        temporary.unlink(missing_ok=True)
    return {"rows": rows, "output": str(target)}


def _pieces(bundle: Bundle, task: Task) -> Iterator[tuple[Any, list[pa.Field[Any]]]]:
    """The input in pieces, each with the types of the columns to carry over."""
    if not task.keep:
        yield from ((piece, []) for piece in pieces_of(bundle, Path(task.input)))
        return
    table = TableFile(task.input, key="input")
    # For the whole file at once: a piece alone may lack the missing value that makes whole numbers fractions.
    fields = table.arrow_fields(task.keep)
    yield from ((piece, fields) for piece in table.pieces())


def _with_kept(piece: pd.DataFrame, fields: list[pa.Field[Any]], predictions: pa.Table) -> pa.Table:
    if not fields:
        return predictions
    kept = pa.Table.from_pandas(piece, schema=pa.schema(fields), preserve_index=False)
    return pa.table([*kept.columns, *predictions.columns], names=[*kept.column_names, *predictions.column_names])
