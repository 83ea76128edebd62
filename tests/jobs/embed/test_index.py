"""Embeddings in Parquet: what is written is read again, and the search is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeline.errors import DataError, UsageError
from forgeline_jobs.embed import EmbeddingIndex, index
from forgeline_jobs.embed.index import Metric, write_index

RNG = np.random.default_rng(0)


def pieces(vectors: np.ndarray[Any, Any], size: int = 3) -> list[Any]:
    found = []
    for start in range(0, len(vectors), size):
        part = vectors[start : start + size].astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), part.shape[1])
        names = pa.array([f"s{start + row}" for row in range(len(part))])
        found.append(pa.table([names, column], names=["path", "embedding"]))
    return found


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    vectors = RNG.normal(size=(8, 4)).astype(np.float32)
    assert write_index(tmp_path / "x.parquet", pieces(vectors), "ab" * 32) == 8
    read = EmbeddingIndex.read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read.vectors, vectors)
    assert read.digest == "ab" * 32 and read.labels.column("path").to_pylist() == [f"s{row}" for row in range(8)]
    assert [file.name for file in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_search_is_exact(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_PAIRS", 100)  # in blocks of two queries
    known, asked = RNG.normal(size=(50, 6)), RNG.normal(size=(7, 6))
    built = EmbeddingIndex(vectors=known.astype(np.float32), labels=pa.table({}), digest="")
    rows, scores = built.nearest(asked.astype(np.float32), k=4, metric=metric)
    for query, vector in enumerate(asked):
        if metric == "cosine":
            true = known @ vector / np.linalg.norm(known, axis=1) / np.linalg.norm(vector)
            order = np.argsort(-true)[:4]
        else:
            true = np.linalg.norm(known - vector, axis=1)
            order = np.argsort(true)[:4]
        assert rows[query].tolist() == order.tolist()
        np.testing.assert_allclose(scores[query], true[order], atol=1e-5)


def test_a_sample_is_its_own_nearest_and_of_equal_ones_the_first() -> None:
    known = np.asarray([[1, 0], [0, 2], [0, 2], [0, 0]], dtype=np.float32)
    built = EmbeddingIndex(vectors=known, labels=pa.table({}), digest="")
    rows, scores = built.nearest(known, k=9, metric="euclidean")
    assert rows.shape == (4, 4) and rows[:, 0].tolist() == [0, 1, 1, 3] and scores[:, 0].tolist() == [0, 0, 0, 0]
    _, cosines = built.nearest(known, k=1)
    assert cosines[:, 0].tolist() == [1, 1, 1, 0], "a vector of zeros has no direction"


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="holds no embeddings; make them by `forgeline embed"):
        EmbeddingIndex.read(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        EmbeddingIndex.read(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="nothing to embed"):
        write_index(tmp_path / "x.parquet", [], "")
    built = EmbeddingIndex(vectors=np.ones((2, 3), dtype=np.float32), labels=pa.table({}), digest="")
    with pytest.raises(UsageError, match=r"k is 0; allowed: 1 or more"):
        built.nearest(np.ones((1, 3), dtype=np.float32), k=0)
    with pytest.raises(UsageError, match=r"got vectors of shape \[1, 2\]; wanted \[queries, 3\]"):
        built.nearest(np.ones((1, 2), dtype=np.float32))
