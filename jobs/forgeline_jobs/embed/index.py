"""Embeddings in a Parquet file: written piece by piece, and searched for the nearest, exactly.

The file has what tells the samples apart, and the column `embedding`. It says which model made it: distances between
the embeddings of two models mean nothing, so another model's are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.carrying import EMBEDDING
from forgeline.errors import DataError, UsageError

Metric = Literal["cosine", "euclidean"]

_DIGEST = b"forgeline.bundle_digest"
# Similarities of so many pairs are held at once.
_PAIRS = 2**24


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingIndex:
    """Embedded samples.

    Attributes:
        vectors: float32 [samples, width].
        labels: pyarrow table of the other columns, a row for each sample.
        digest: of the bundle that made them.
    """

    vectors: NDArray[np.float32]
    labels: Any
    digest: str

    @classmethod
    def read(cls, path: str | Path) -> EmbeddingIndex:
        """What `forgeline embed --output` wrote.

        Raises:
            DataError: the file is missing or holds no embeddings.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"`{path}` cannot be read as Parquet: {str(error).splitlines()[0]}") from error
        digest = (table.schema.metadata or {}).get(_DIGEST)
        if digest is None or EMBEDDING not in table.column_names:
            raise DataError(f"`{path}` holds no embeddings; make them by `forgeline embed MODEL FILE --output {path}`")
        column = table.column(EMBEDDING).combine_chunks()
        width = column.type.list_size
        vectors = np.asarray(column.flatten(), dtype=np.float32).reshape(-1, width)
        return cls(vectors=vectors, labels=table.drop_columns([EMBEDDING]), digest=digest.decode())

    def nearest(
        self, vectors: NDArray[np.float32], *, k: int = 5, metric: Metric = "cosine"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest samples of each vector, nearest first.

        Args:
            vectors: [queries, width].
            k: how many; all where there are fewer.
            metric: cosine of the angle between two vectors, or the length of their difference.

        Returns:
            Row numbers [queries, k], and similarities (cosine, at most 1) or distances (euclidean, at least 0).

        Raises:
            UsageError: k is below 1, or the vectors have another width.
        """
        if k < 1:
            raise UsageError(f"k is {k}; allowed: 1 or more")
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise UsageError(f"got vectors of shape {list(vectors.shape)}; wanted [queries, {self.vectors.shape[1]}]")
        k = min(k, len(self.vectors))
        score = _cosines if metric == "cosine" else _negative_distances
        block = max(1, _PAIRS // len(self.vectors))
        rows: list[NDArray[np.int64]] = []
        scores: list[NDArray[np.float32]] = []
        for start in range(0, len(vectors), block):
            scored = score(vectors[start : start + block], self.vectors)
            # Stable, so that of equal ones the first of the file comes first.
            order = np.argsort(-scored, axis=1, kind="stable")[:, :k]
            rows.append(order)
            scores.append(np.take_along_axis(scored, order, axis=1))
        found = np.concatenate(scores) if scores else np.empty((0, k), dtype=np.float32)
        chosen = np.concatenate(rows) if rows else np.empty((0, k), dtype=np.int64)
        return chosen, found if metric == "cosine" else np.abs(found)


def write_index(path: Path, pieces: Iterable[Any], digest: str) -> int:
    """Write embeddings piece by piece; the file appears whole or not at all.

    Args:
        path: the file.
        pieces: pyarrow tables with the column `embedding`, from `embed_file`.
        digest: of the bundle that made them.

    Returns:
        Number of samples.
    """
    import pyarrow.parquet as pq

    temporary = path.with_name(f".{path.name}.part")
    writer: Any = None
    rows = 0
    try:
        for piece in pieces:
            if writer is None:
                writer = pq.ParquetWriter(temporary, piece.schema.with_metadata({_DIGEST: digest.encode()}))
            writer.write_table(piece.cast(writer.schema))
            rows += piece.num_rows
        if writer is None:
            raise DataError("there is nothing to embed")
        writer.close()
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"--output: cannot write {path} ({error.strerror})") from error
    finally:
        if writer is not None:
            writer.close()
        temporary.unlink(missing_ok=True)
    return rows


def _cosines(queries: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """[queries, samples]; 0 where a vector has no direction."""
    return _unit(queries) @ _unit(known).T


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _negative_distances(queries: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """[queries, samples], in float64 inside, since the squares of near vectors cancel."""
    left, right = queries.astype(np.float64), known.astype(np.float64)
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    distances: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return -distances
