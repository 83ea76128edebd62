"""Files: every fault names the file and what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle.tables import TableFile
from forgeline.errors import DataError
from forgeline.preprocessing.reading import existing, read_arrays, read_json_lines, read_table, read_text


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(path, key="data.path")
    assert caught.value.key == "data.path" and path.name in str(caught.value)
    return str(caught.value)


def test_missing_names_the_nearest_sibling(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"does not exist; did you mean `.*train.csv`"):
        existing(tmp_path / "trian.csv")


def test_bad_tables(tmp_path: Path) -> None:
    assert "is empty" in refused(tmp_path / "a.csv", b"")
    assert "is empty" in refused(tmp_path / "a.csv", b"\n\n")
    assert "no rows" in refused(tmp_path / "a.csv", b"a,b\n")
    assert "more than one column named 'a'" in refused(tmp_path / "a.csv", b"a,b,a\n1,2,3\n")
    assert "not UTF-8: byte 0xe9 at offset 5 (line 2)" in refused(tmp_path / "a.csv", b"name\n\xe9\n")
    assert "line 3" in refused(tmp_path / "a.csv", b"a,b\n1,2\n1,2,3,4\n")
    assert "not a table" in refused(tmp_path / "a.xlsx", b"PK")
    assert "as Parquet" in refused(tmp_path / "a.parquet", b"not parquet")


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_file_that_may_not_be_read_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / name).write_text("a\n1\n")
    # Not by the file's mode: root may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (read_table, lambda path: list(TableFile(path).pieces())) if name == "a.csv" else (read_text,):
        with pytest.raises(DataError, match=f"{name}` cannot be read: Permission denied") as caught:
            read(tmp_path / name)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(tmp_path: Path, separator: str) -> None:
    (tmp_path / "a.csv").write_text(f"a{separator}b\n1{separator}x\n")
    assert list(read_table(tmp_path / "a.csv").columns) == ["a", "b"]


def test_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet")["a"].tolist() == [1, 2]


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asarray([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as .npz"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_a_line_of_json_ends_where_files_have_lines(inside: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    texts = [f"a{inside}b", "c"]
    path.write_bytes("\r\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts).encode())
    assert read_json_lines(path, "text") == texts
