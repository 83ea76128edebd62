"""Files of the user's, read with every fault turned into a DataError that names the file.

Used on both sides: by the data plug-ins, where the fault belongs to a spec key (`data.path`), and by prediction,
where there is no key.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.suggestions import did_you_mean, nearest

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_SEPARATORS = (",", ";", "\t")


def existing(path: str | Path, *, key: str | None = None) -> Path:
    """The path with `~` expanded, relative to the working directory.

    Raises:
        DataError: nothing is there, or it is an empty file.
    """
    place = Path(path).expanduser()
    try:
        if not place.exists():
            siblings = [sibling.name for sibling in place.parent.iterdir()] if place.parent.is_dir() else []
            meant = nearest(place.name, siblings)
            hint = f"; did you mean `{place.with_name(meant)}`?" if meant else f" (looked from {Path.cwd()})"
            raise DataError(f"`{place}` does not exist{hint}", key=key)
        if place.is_file() and place.stat().st_size == 0:
            raise DataError(f"`{place}` is empty", key=key)
    except OSError as error:
        raise unreadable(place, error, key) from error
    return place


def read_table(path: str | Path, *, key: str | None = None, texts: Collection[str] = ()) -> pd.DataFrame:
    """A CSV (comma, semicolon or tab) or Parquet file with at least one row.

    Args:
        texts: columns of a CSV that are read as they are written: of a file with nothing but `01` and `02` in a column
            of codes, numbers would be made otherwise.

    Raises:
        DataError: missing, empty, not a table, not UTF-8, or a column name appears twice.
    """
    import pandas as pd

    place = existing(path, key=key)
    if place.is_dir() or place.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(f"`{place}` is not a table; allowed: {', '.join(TABLE_SUFFIXES)}", key=key)
    if place.suffix.lower() in {".parquet", ".pq"}:
        try:
            frame = pd.read_parquet(place)
        except Exception as error:  # pyarrow has no common root for its errors
            raise DataError(f"`{place}` cannot be read as Parquet: {_first_line(error)}", key=key) from error
        _refuse_duplicates([str(name) for name in frame.columns], place, key)
    else:
        frame = _read_csv(place, key, texts)
    if frame.empty:
        raise DataError(f"`{place}` has a header but no rows", key=key)
    return frame.rename(columns=str)


def read_text(path: Path, *, key: str | None = None) -> str:
    """A UTF-8 text file, line ends as they are.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the message has the byte and the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, key) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"`{path}` is not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start} (line {line}); "
            f"convert it, for example by `iconv -f latin1 -t utf-8`",
            key=key,
        ) from error


def text_lines(text: str) -> list[str]:
    r"""Lines as files have them, between `\n`, `\r\n` or `\r`; str.splitlines also cuts at U+2028, which JSON allows.

    >>> text_lines("a\u2028b\r\nc\n")
    ['a\u2028b', 'c']
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_json_lines(path: Path, field: str, *, key: str | None = None, field_key: str | None = None) -> list[str]:
    """The texts in `field` of a JSONL file, one document a line; blank lines are passed over."""
    texts = []
    for number, line in enumerate(text_lines(read_text(path, key=key)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"`{path}` line {number} is not JSON: {error.msg}", key=key) from error
        if not isinstance(row, dict) or field not in row:
            known = row if isinstance(row, dict) else []
            raise DataError(
                f"`{path}` line {number} has no field {field!r}; {did_you_mean(field, known)}", key=field_key
            )
        if not isinstance(row[field], str):
            kind = type(row[field]).__name__
            raise DataError(f"`{path}` line {number}: {field!r} is {kind}, wanted a text", key=field_key)
        texts.append(row[field])
    return texts


def read_arrays(path: Path, *, key: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; arrays of Python objects are refused, since they are pickles."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"`{path}` cannot be read as .npz: {_first_line(error)}", key=key) from error


def counted(what: str, number: int) -> str:
    """A place in the data that says where the count begins: `data row 3 (the first is 0)`."""
    return f"{what} {number} (the first is 0)"


def column(frame: pd.DataFrame, name: str, *, key: str | None = None) -> pd.Series[Any]:
    """One column by name.

    Raises:
        DataError: there is none; the message has the nearest name.
    """
    if name not in frame.columns:
        raise DataError(f"there is no column {name!r}; {did_you_mean(name, map(str, frame.columns))}", key=key)
    return frame[name]


def _read_csv(place: Path, key: str | None, texts: Collection[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        with place.open(encoding="utf-8-sig", newline="") as lines:
            first = next((line for line in lines if line.strip()), "")
    except OSError as error:
        raise unreadable(place, error, key) from error
    except UnicodeDecodeError:
        read_text(place, key=key)
        raise
    if not first:
        raise DataError(f"`{place}` is empty", key=key)
    separator = max(_SEPARATORS, key=first.count)
    _refuse_duplicates(next(csv.reader([first], delimiter=separator)), place, key)
    try:
        return pd.read_csv(
            place,
            sep=separator,
            encoding="utf-8-sig",
            skipinitialspace=True,
            low_memory=False,
            dtype=dict.fromkeys(texts, str),
        )
    except OSError as error:
        raise unreadable(place, error, key) from error
    except UnicodeDecodeError:
        read_text(place, key=key)
        raise
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"`{place}` cannot be read as CSV: {_first_line(error)}", key=key) from error


def _refuse_duplicates(names: list[str], place: Path, key: str | None) -> None:
    twice = [name for name, count in Counter(name.strip() for name in names).items() if count > 1]
    if twice:
        listed = ", ".join(repr(name) for name in twice[:5])
        raise DataError(f"`{place}` has more than one column named {listed}; every name must be unique", key=key)


def unreadable(place: Path, error: OSError, key: str | None) -> DataError:
    """The error for a file that the system does not let us read."""
    return DataError(f"`{place}` cannot be read: {error.strerror or error}", key=key)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
