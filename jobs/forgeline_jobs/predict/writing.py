"""Predictions piece by piece into one Parquet file, which appears whole or not at all. Runs in a Ray task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from forgeline.bundle import Bundle
from forgeline.bundle.carrying import predict_file
from forgeline.errors import DataError


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
        pieces = predict_file(bundle, Path(task.input), keep=task.keep, batch_size=task.batch_size, device=task.device)
        for batch in pieces:
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
