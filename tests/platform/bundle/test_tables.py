"""Large tables in pieces: the same rows, with the same types, as the file read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import tables
from forgeline.bundle.tables import TableFile
from forgeline.errors import DataError
from forgeline.preprocessing.reading import read_table

ROWS = 50


@pytest.fixture
def tricky() -> pd.DataFrame:
    """Columns that look like another type in their first or last rows."""
    numbers = np.arange(ROWS)
    return pd.DataFrame(
        {
            "whole": numbers,
            "late_gap": [float(n) if n < 45 else np.nan for n in numbers],
            "late_fraction": [float(n) if n < 45 else n + 0.5 for n in numbers],
            "late_text": [f"{n:02d}" if n < 45 else "A" for n in numbers],
            "flag": numbers % 2 == 0,
            "late_flag": [None if n > 44 else n % 2 == 0 for n in numbers],
            "empty_first": [None if n < 30 else f"x{n}" for n in numbers],
            "never": [None] * ROWS,
            "text; with, marks": [f'say "{n}",\nplease' for n in numbers],
        }
    )


@pytest.fixture(params=["large", "small"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pieces of 7 rows, of files that are read in pieces or whole."""
    monkeypatch.setattr(tables, "PIECE_ROWS", 7)
    if request.param == "large":
        monkeypatch.setattr(tables, "SMALL_BYTES", 0)
    return str(request.param)


def in_pieces(path: Path) -> pd.DataFrame:
    pieces = list(TableFile(path).pieces())
    assert [len(piece) for piece in pieces] == [7] * 7 + [1]
    assert all(piece.dtypes.equals(pieces[0].dtypes) for piece in pieces)
    return pd.concat(pieces)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tricky: pd.DataFrame, tmp_path: Path, size: str, separator: str) -> None:
    path = tmp_path / "t.csv"
    if separator != ",":
        tricky = tricky.rename(columns={"text; with, marks": "text"})
    tricky.to_csv(path, index=False, sep=separator, encoding="utf-8-sig")
    whole = read_table(path)
    assert TableFile(path).columns == list(whole.columns)
    found = in_pieces(path)
    assert found.index.tolist() == list(range(ROWS))
    assert found["late_text"].iloc[3] == "03"
    # pandas keeps True and False beside a gap as objects; read as text they are the same categories.
    pd.testing.assert_frame_equal(found.drop(columns="late_flag"), whole.drop(columns="late_flag"), check_dtype=False)
    numeric = ["whole", "late_gap", "late_fraction", "flag"]
    assert found[numeric].dtypes.equals(whole[numeric].dtypes)


def test_parquet(tricky: pd.DataFrame, tmp_path: Path, size: str) -> None:
    path = tmp_path / "t.parquet"
    named = tricky.drop(columns=["late_flag", "never", "empty_first"])
    named.index = pd.Index(np.arange(ROWS) + 100, name="number")
    named.to_parquet(path)
    table = TableFile(path)
    assert "whole" in table.columns
    found = in_pieces(path)
    assert found.index.tolist() == list(range(ROWS))
    pd.testing.assert_frame_equal(found[list(named.columns)], named.reset_index(drop=True), check_dtype=False)
    assert table.head(3)["whole"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("group_bytes", [0, 2_000, 2**20])
def test_row_groups_are_read_together_or_by_batches(
    tricky: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int
) -> None:
    frame = tricky.drop(columns=["late_flag", "never", "empty_first"]).assign(kind=pd.Categorical(["a", "b"] * 25))
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=9)
    monkeypatch.setattr(tables, "SMALL_BYTES", 0)
    monkeypatch.setattr(tables, "GROUP_BYTES", group_bytes)
    pieces = list(TableFile(tmp_path / "t.parquet").pieces(7))
    assert all(len(piece) <= 7 for piece in pieces)
    pd.testing.assert_frame_equal(pd.concat(pieces), frame, check_index_type=False)


def test_types_for_writing_hold_every_piece(tricky: pd.DataFrame, tmp_path: Path, size: str) -> None:
    import pyarrow as pa

    path = tmp_path / "t.csv"
    tricky.to_csv(path, index=False)
    table = TableFile(path)
    names = ["whole", "late_gap", "late_text", "flag"]
    fields: list[Any] = table.arrow_fields(names)
    assert [field.name for field in fields] == names
    assert [str(field.type) for field in fields] in (
        ["int64", "double", "string", "bool"],
        ["int64", "double", "large_string", "bool"],
    )
    for piece in table.pieces():
        for field in fields:
            pa.array(piece[field.name], type=field.type, from_pandas=True)


def test_parquet_keeps_its_own_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=3, tz="UTC"), "small": np.int8([1, 2, 3])})
    frame.to_parquet(tmp_path / "t.parquet")
    fields: list[Any] = TableFile(tmp_path / "t.parquet").arrow_fields(["small", "when"])
    assert str(fields[0].type) == "int8" and str(fields[1].type).startswith("timestamp")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"a,b\n1,2\n\xff,3\n", "is not UTF-8"),
        ("t.csv", b"a\xff,b\n1,2\n", "is not UTF-8"),
        ("t.csv", b"a,a\n1,2\n", "more than one column named 'a'"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV"),
        ("t.parquet", b"no parquet", "cannot be read as Parquet"),
        ("t.xlsx", b"x", "is not a table; allowed: .csv, .tsv, .parquet, .pq"),
        ("t.csv", b"", "is empty"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, words: str, size: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        list(TableFile(path, key="input").pieces())
    assert caught.value.key == "input"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("age,plan\n1,a\n")
    table = TableFile(tmp_path / "t.csv", key="input")
    table.require(["age"])
    with pytest.raises(DataError, match="no column 'agee'; did you mean `age`") as caught:
        table.require(["agee"], key="keep")
    assert caught.value.key == "keep"
