"""What a model makes of a file, beside columns of the file: for `predict` and `embed` with `--keep`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.bundle.embedding import embed_piece
from forgeline.bundle.prediction import pieces_of
from forgeline.bundle.tables import TableFile
from forgeline.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from forgeline.bundle.bundle import Bundle


EMBEDDING = "embedding"


def check_kept(bundle: Bundle, file: Path, keep: Sequence[str], *, key: str) -> None:
    """Check that the columns to carry over are there, and that the model writes none of the same name.

    Args:
        key: that named them, for messages.

    Raises:
        SpecError: they cannot be carried over.
    """
    if not keep:
        return
    if bundle.preprocessing.kind != "table":
        raise SpecError(f"got {list(keep)}; only the columns of a table can be carried over", key=key)
    made = [EMBEDDING, *(column["name"] for column in bundle.schema["outputs"])]
    for number, name in enumerate(keep):
        if name in made or name in keep[:number]:
            reason = "is a column that the model writes" if name in made else "is named twice"
            raise SpecError(f"{name!r} {reason}; leave it out, or rename it in the input", key=key)
    TableFile(file, key="input").require(keep, key=key)


def predict_file(
    bundle: Bundle, file: Path, *, keep: Sequence[str], batch_size: int, device: str = "auto"
) -> Iterator[pa.Table]:
    """Predictions in the order of the file, piece by piece, each row behind the columns that are carried over.

    Raises:
        DataError: the file cannot be read, or the model cannot take it.
    """
    import pyarrow as pa

    for piece, fields in _pieces(bundle, file, keep):
        predictions = bundle.predict_piece(piece, batch_size=batch_size, device=device)
        table = _with_kept(piece, fields, pa.Table.from_pandas(predictions, preserve_index=False))
        # Without pandas' own note in the metadata, which would be the first piece's.
        yield table.replace_schema_metadata(None)


def embed_file(
    bundle: Bundle, file: Path, *, keep: Sequence[str], batch_size: int, device: str = "auto"
) -> Iterator[pa.Table]:
    """Embeddings in the order of the file, piece by piece, behind what tells the samples apart and what is kept.

    Raises:
        DataError: the file cannot be read, or the model cannot take it.
        UsageError: the network has no layer to embed by.
    """
    import pyarrow as pa

    for piece, fields in _pieces(bundle, file, keep):
        vectors = embed_piece(bundle, piece, batch_size=batch_size, device=device)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        labels = bundle.preprocessing.row_labels(piece)
        known = pa.Table.from_pandas(labels, preserve_index=False) if len(labels.columns) else pa.table({})
        table = pa.table([*known.columns, column], names=[*known.column_names, EMBEDDING])
        yield _with_kept(piece, fields, table)


def _pieces(bundle: Bundle, file: Path, keep: Sequence[str]) -> Iterator[tuple[Any, list[pa.Field[Any]]]]:
    """The file in pieces, each with the types of the columns to carry over."""
    if not keep:
        yield from ((piece, []) for piece in pieces_of(bundle, file))
        return
    texts = bundle.preprocessing.texts if bundle.preprocessing.kind == "table" else ()
    table = TableFile(file, key="input", texts=texts)
    # For the whole file at once: a piece alone may lack the missing value that makes whole numbers fractions.
    fields = table.arrow_fields(keep)
    yield from ((piece, fields) for piece in table.pieces())


def _with_kept(piece: pd.DataFrame, fields: list[pa.Field[Any]], predictions: pa.Table) -> pa.Table:
    import pyarrow as pa

    if not fields:
        return predictions
    kept = pa.Table.from_pandas(piece, schema=pa.schema(fields), preserve_index=False)
    return pa.table([*kept.columns, *predictions.columns], names=[*kept.column_names, *predictions.column_names])
