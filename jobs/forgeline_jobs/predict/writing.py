"""Predictions piece by piece into one Parquet file, which appears whole or not at all. Runs in a Ray task."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeline.bundle import Bundle
from forgeline.bundle.prediction import pieces_of


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the Ray task is told; paths are absolute."""

    bundle: str
    input: str
    output: str
    keep: tuple[str, ...]
    batch_size: int
    device: str


def write(task: Task) -> dict[str, Any]:
    """Predict in the order of the input.

    Returns:
        Number of rows and the file.
    """
    bundle = Bundle.load(task.bundle)
    target = Path(task.output)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for piece in pieces_of(bundle, Path(task.input)):
            table = bundle.predict_piece(piece, batch_size=task.batch_size, device=task.device)
            for place, column in enumerate(task.keep):
                table.insert(place, column, piece[column].to_numpy())
            batch = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(temporary, batch.schema)
            writer.write_table(batch.cast(writer.schema))
            rows += len(table)
        if writer is not None:
            writer.close()
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return {"rows": rows, "output": str(target)}
