"""Large tables in pieces, each piece typed as if the whole file had been read at once.

A CSV file has no types, and pandas guesses them piece by piece: a column that is 1, 2 in one piece and "A" in the next
would change its type on the way. So a CSV file of more than one piece is read twice, the first time for its types.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import DataError
from forgeline.preprocessing.reading import TABLE_SUFFIXES, existing, read_table, unreadable
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

# Below this, the whole file at once is quicker, and it is the very code that training data are read by.
SMALL_BYTES = 32 * 2**20
PIECE_ROWS = 65_536
# Row groups of a Parquet file that are held at once, decoded: next to nothing beside them, since they are read by
# columns. Reading batches of rows holds a page and a dictionary of every column, twice as much as a group of this size.
GROUP_BYTES = 128 * 2**20
_COLUMNS_AT_ONCE = 8
_PARQUET = {".parquet", ".pq"}


def is_table(path: Path) -> bool:
    """Whether the file's name says that it is a table."""
    return path.suffix.lower() in TABLE_SUFFIXES


class TableFile:
    """A CSV or Parquet file that is read in pieces.

    Args:
        path: the file.
        key: spec key that named it, for messages.
        texts: columns of a CSV that are read as they are written.
    """

    def __init__(self, path: str | Path, *, key: str | None = None, texts: Sequence[str] = ()) -> None:
        self.path = existing(path, key=key)
        self.key = key
        self._texts = dict.fromkeys(texts, "str")
        self._whole = self.path.stat().st_size <= SMALL_BYTES
        if not is_table(self.path):
            raise DataError(f"`{self.path}` is not a table; allowed: {', '.join(TABLE_SUFFIXES)}", key=key)

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix.lower() in _PARQUET

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, without reading the rows of a large file."""
        if self.is_parquet:
            return [str(name) for name in self._parquet_schema.names if not str(name).startswith("__index_level_")]
        return [str(name) for name in self._frame.columns] if self._whole else self._header[1]

    def require(self, names: Sequence[str], *, key: str | None = None) -> None:
        """Check that columns are there.

        Raises:
            DataError: one is not; the message has the nearest name.
        """
        for name in names:
            if name not in self.columns:
                raise DataError(
                    f"`{self.path}` has no column {name!r}; {did_you_mean(name, self.columns)}", key=key or self.key
                )

    def head(self, rows: int) -> pd.DataFrame:
        """The first rows, typed by themselves alone: for a look that must not read a large file."""
        if self._whole:
            first = self._frame.head(rows)
        elif self.is_parquet:
            first = next(self._parquet_pieces(rows), self._parquet_schema.empty_table().to_pandas())
        else:
            first = next(self._csv_pieces(rows, {}))
        return first.rename(columns=str)

    def pieces(self, rows: int | None = None) -> Iterator[pd.DataFrame]:
        """The rows in order, at most `rows` (`PIECE_ROWS`) at a time, indexed from 0 throughout the file."""
        start = 0
        for piece in self._raw_pieces(rows or PIECE_ROWS):
            named = piece.rename(columns=str)
            named.index = range(start, start + len(named))  # type: ignore[assignment]  # pandas makes a RangeIndex
            start += len(named)
            yield named

    def arrow_fields(self, names: Sequence[str]) -> list[pa.Field[Any]]:
        """Types of columns for writing them elsewhere, the same for every piece."""
        import pyarrow as pa

        if self.is_parquet:
            return [self._parquet_schema.field(name) for name in names]
        if self._whole:
            return list(pa.Schema.from_pandas(self._frame[list(names)], preserve_index=False))
        kinds = {"int64": pa.int64(), "uint64": pa.uint64(), "float64": pa.float64(), "bool": pa.bool_()}
        return [pa.field(name, kinds.get(self._types[name], pa.string())) for name in names]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return read_table(self.path, key=self.key, texts=self._texts)

    @cached_property
    def _header(self) -> tuple[str, list[str]]:
        """Separator and column names of a CSV file, found as the ordinary reader finds them."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as lines:
                first = next((line for line in lines if line.strip()), "")
        except OSError as error:
            raise unreadable(self.path, error, self.key) from error
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from error
        separator = max((",", ";", "\t"), key=first.count)
        names = next(csv.reader([first.strip("\r\n")], delimiter=separator, skipinitialspace=True), [])
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"`{self.path}` has more than one column named {twice[0]!r}", key=self.key)
        return separator, names

    def _not_utf8(self, error: UnicodeDecodeError) -> DataError:
        return DataError(
            f"`{self.path}` is not UTF-8: {error.reason}; convert it, for example by `iconv -f latin1 -t utf-8`",
            key=self.key,
        )

    @cached_property
    def _parquet_schema(self) -> pa.Schema:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(self.path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"`{self.path}` cannot be read as Parquet: {error}", key=self.key) from error

    @cached_property
    def _types(self) -> dict[str, str]:
        """dtype of every CSV column over the whole file."""
        seen: dict[str, set[str]] = {name: set() for name in self.columns}
        gaps: set[str] = set()
        for piece in self._csv_pieces(PIECE_ROWS, {}):
            missing = piece.isna()
            gaps |= {str(name) for name in piece.columns[missing.any()]}
            # A piece without any value is read as floats: it says nothing about the type.
            for name in piece.columns[~missing.all()]:
                seen[str(name)].add(str(piece[name].dtype))
        return {name: _wider(kinds, gaps=name in gaps) for name, kinds in seen.items()}

    def _raw_pieces(self, rows: int) -> Iterator[pd.DataFrame]:
        if self._whole:
            frame = self._frame
            yield from (frame.iloc[start : start + rows] for start in range(0, len(frame), rows))
        elif self.is_parquet:
            yield from self._parquet_pieces(rows)
        else:
            yield from self._csv_pieces(rows, self._types)

    def _parquet_pieces(self, rows: int) -> Iterator[pd.DataFrame]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Without a buffer of its own, all that a group has on the disk is read ahead.
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=2**16) as file:
                for groups in _together(file.metadata):
                    if _size(file.metadata, groups) > GROUP_BYTES:
                        yield from (
                            batch.to_pandas()
                            for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=self.columns)
                        )
                        continue
                    table = _by_columns(file, groups, self.columns)
                    for start in range(0, table.num_rows, rows):
                        yield table.slice(start, rows).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"`{self.path}` cannot be read as Parquet: {error}", key=self.key) from error

    def _csv_pieces(self, rows: int, types: dict[str, str]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        try:
            with pd.read_csv(
                self.path,
                sep=self._header[0],
                encoding="utf-8-sig",
                skipinitialspace=True,
                low_memory=False,
                chunksize=rows,
                dtype={**types, **self._texts},
            ) as reader:
                yield from reader
        except OSError as error:
            raise unreadable(self.path, error, self.key) from error
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from error
        except (pd.errors.ParserError, ValueError) as error:
            raise DataError(f"`{self.path}` cannot be read as CSV: {error}", key=self.key) from error


def _together(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Row groups that follow each other and are held at once; one that is too large by itself is alone."""
    held: list[int] = []
    for group in range(metadata.num_row_groups):
        if held and _size(metadata, [*held, group]) > GROUP_BYTES:
            yield held
            held = []
        held.append(group)
    if held:
        yield held


def _size(metadata: pq.FileMetaData, groups: Sequence[int]) -> int:
    return sum(metadata.row_group(group).total_byte_size for group in groups)


def _by_columns(file: pq.ParquetFile, groups: list[int], names: Sequence[str]) -> pa.Table:
    """Row groups as a table, some columns after the others, so that few are there both encoded and decoded."""
    import pyarrow as pa

    columns: dict[str, pa.ChunkedArray[Any]] = {}
    for start in range(0, len(names), _COLUMNS_AT_ONCE):
        part = file.read_row_groups(groups, columns=list(names[start : start + _COLUMNS_AT_ONCE]), use_threads=False)
        columns |= dict(zip(part.column_names, part.columns, strict=True))
        # What decoding took would otherwise be kept for the next columns, and half as much again.
        pa.default_memory_pool().release_unused()
    return pa.table(columns).replace_schema_metadata(file.schema_arrow.metadata)


def _wider(kinds: set[str], *, gaps: bool) -> str:
    """The dtype that holds all of them, as pandas would have chosen for the whole column."""
    numbers = {"int64", "uint64", "float64"}
    if kinds <= numbers:
        return next(iter(kinds)) if len(kinds) == 1 and not gaps else "float64"
    return "bool" if kinds == {"bool"} and not gaps else "str"
