"""`forgeline embed`: a file's embeddings into Parquet, or the nearest of its samples among such a file's."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.predict import (
    ModelReferenceArgument,
    PredictionFormat,
    check_output,
    format_of,
    load_model,
    write_table,
)
from forgeline.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from forgeline.bundle import Bundle


class Nearness(StrEnum):
    """What near means."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


def embed(
    model: ModelReferenceArgument,
    file: Annotated[Path, typer.Argument(help="Image, folder of images, CSV, Parquet, text, JSONL or .npz.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Parquet file to write; with --nearest also CSV or JSON, or none."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column of the input to carry over; repeatable.")
    ] = None,
    nearest: Annotated[
        Path | None, typer.Option(metavar="INDEX", help="Find the nearest samples in this file of embeddings.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Nearest samples to find for each.")] = 5,
    metric: Annotated[Nearness, typer.Option(help="What near means.")] = Nearness.COSINE,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples embedded at a time.")] = 256,
) -> None:
    """Embed samples by a model, or find the nearest among embedded ones."""
    form = format_of(output)
    if nearest is None and form is not PredictionFormat.PARQUET:
        raise UsageError("give --output FILE.parquet for the embeddings, or --nearest INDEX to search in some")
    for option, path in (("FILE", file), ("--nearest", nearest)):
        if path is not None and not path.exists():
            raise UsageError(f"{option}: {path} does not exist")
    if output is not None:
        check_output(output, file, overwrite=overwrite)
        if nearest is not None and output.exists() and output.samefile(nearest):
            raise UsageError(f"--output: {str(output)!r} is the file of --nearest as well; change --output")
    bundle = load_model(model)
    if nearest is not None:
        found = neighbours(bundle, file, nearest, keep or [], k, metric, batch_size)
        write_table(found, form, output, what="neighbours")
        return
    assert output is not None
    from forgeline.bundle.carrying import check_kept, embed_file
    from forgeline_jobs.embed.index import write_index

    check_kept(bundle, file, keep or [], key="--keep")
    rows = write_index(output, embed_file(bundle, file, keep=keep or [], batch_size=batch_size), bundle.digest)
    print(f"wrote {rows} embeddings to {output}", file=sys.stderr)


def neighbours(
    bundle: Bundle, file: Path, index: Path, keep: list[str], k: int, metric: Nearness, batch_size: int
) -> pd.DataFrame:
    """A row for each sample and each of its nearest, nearest first: which it is, how near, and which was found.

    Raises:
        UsageError: the index is of another model.
        DataError: it is none, or the file cannot be embedded.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from forgeline.bundle.carrying import EMBEDDING, check_kept, embed_file
    from forgeline_jobs.embed.index import EmbeddingIndex

    known = EmbeddingIndex.read(index)
    if known.digest != bundle.digest:
        raise UsageError(
            f"--nearest: {index} was made by another model (digest {known.digest[:12]}…, this one has "
            f"{bundle.digest[:12]}…); embed its samples again"
        )
    check_kept(bundle, file, keep, key="--keep")
    pieces = pa.concat_tables(embed_file(bundle, file, keep=keep, batch_size=batch_size))
    vectors = np.stack(pieces.column(EMBEDDING).to_pylist()).astype(np.float32)
    rows, scores = known.nearest(vectors, k=k, metric=metric.value)
    asked = np.repeat(np.arange(len(rows)), rows.shape[1])
    table: dict[str, Any] = {"row": asked}
    for name, column in _columns(pieces.drop_columns([EMBEDDING])).items():
        table[name] = column[asked]
    table["rank"] = np.tile(np.arange(1, rows.shape[1] + 1), len(rows))
    table["similarity" if metric is Nearness.COSINE else "distance"] = scores.reshape(-1)
    table["neighbour[row]"] = rows.reshape(-1)
    for name, column in _columns(known.labels).items():
        table[f"neighbour[{name}]"] = column[rows.reshape(-1)]
    return pd.DataFrame(table)


def _columns(table: Any) -> dict[str, Any]:
    frame = table.to_pandas()
    return {str(name): frame[name].to_numpy() for name in frame.columns}
