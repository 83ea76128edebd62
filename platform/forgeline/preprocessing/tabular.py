"""Tables: numbers are imputed by the train median and standardised, categories become numbers of a vocabulary.

Number 0 of every vocabulary means unknown or missing, so neither ever raises; a text in a numeric column does, since to
take it for a missing number would answer another question. A numeric column with missing values in train brings a
second input, 1 where the value was missing: that it is missing often says something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import counted, read_table
from forgeline.preprocessing.target import Target, label_text, label_texts, standardisation
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

# A value this many deviations out is a typing error or a change of unit; float32 and the first layer stay finite.
_FARTHEST = 1e6
# Above this the square of a value leaves float64, and with it the standard deviation.
_LARGEST = 1e100
# From here on, to find the distinct values of a column costs less than to look at each value.
_MANY_ROWS = 1_000
_MISSING_TEXTS = ("", "nan")


class NumericColumn(BaseModel):
    """A column of numbers; `empty` says that train had none in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fill: float
    mean: float
    std: float
    flag_missing: bool = False
    empty: bool = False

    @model_serializer(mode="wrap")
    def _as_ever(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `empty` where it is false, so that what is not affected can be read by every version."""
        return {name: value for name, value in plain(self).items() if name != "empty" or value}


class CategoricalColumn(BaseModel):
    """A column of categories; category i has the number i + 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    categories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Where rows have no value, which the encoding hides: a missing number is the train median there.

    Attributes:
        numeric: bool [n, numeric columns].
        categorical: bool [n, categorical columns].
    """

    numeric: NDArray[np.bool_]
    categorical: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[Gaps]) -> Gaps:
        """Of rows behind each other."""
        return cls(
            numeric=np.concatenate([part.numeric for part in parts]),
            categorical=np.concatenate([part.categorical for part in parts]),
        )


class TablePreprocessing(FittedPreprocessing):
    """`numeric` [n, N] float32 and `categorical` [n, K] int64 from the rows of a table."""

    kind: Literal["table"] = "table"
    numeric: tuple[NumericColumn, ...] = ()
    categorical: tuple[CategoricalColumn, ...] = ()

    @classmethod
    def fit(
        cls, train: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], target: Target
    ) -> TablePreprocessing:
        """Statistics and vocabularies of the train rows."""
        return cls(
            numeric=tuple(_fit_numeric(name, numbers(train[name])) for name in numeric),
            categorical=tuple(
                CategoricalColumn(name=name, categories=tuple(sorted({t for t in label_texts(train[name]) if t})))
                for name in categorical
            ),
            target=target,
        )

    @property
    def names(self) -> list[str]:
        """Columns that the model reads."""
        return [*(column.name for column in self.numeric), *(column.name for column in self.categorical)]

    @property
    def width(self) -> int:
        """Numbers per row in `numeric`, the flags of missing values included."""
        return len(self.numeric) + sum(column.flag_missing for column in self.numeric)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Size of each vocabulary, number 0 included."""
        return tuple(len(column.categories) + 1 for column in self.categorical)

    @property
    def texts(self) -> tuple[str, ...]:
        """Categorical columns to read as they are written: as a number, `01` would be another category."""
        return tuple(c.name for c in self.categorical if not all(_survives_guessing(text) for text in c.categories))

    def encode(self, raw: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Arrays:
        """Rows -> input arrays; columns that the model does not read may be there or not.

        Raises:
            DataError: a column that the model reads is not there, or a value of a numeric one is no number.
        """
        return self.encode_with_gaps(raw)[0]

    def encode_with_gaps(
        self, raw: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> tuple[Arrays, Gaps]:
        """What `encode` gives, and where the rows have no value.

        Raises:
            DataError: as `encode`.
        """
        frame = as_frame(raw)
        for name in self.names:
            if name not in frame.columns:
                raise DataError(
                    f"the table has no column {name!r}, which the model reads; {did_you_mean(name, frame.columns)}"
                )
        arrays: Arrays = {}
        missing = np.zeros((len(frame), 0), dtype=np.bool_)
        codes = np.zeros((len(frame), 0), dtype=np.int64)
        if self.numeric:
            arrays["numeric"], missing = self._encode_numeric(frame)
        if self.categorical:
            codes = np.stack([_codes(frame[c.name], c.categories) for c in self.categorical], axis=1)
            arrays["categorical"] = np.maximum(codes, 0)
        return arrays, Gaps(numeric=missing, categorical=codes == 0)

    def _encode_numeric(self, frame: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        values = _matrix(frame, [column.name for column in self.numeric])
        missing = np.isnan(values)
        filled = np.where(missing, [column.fill for column in self.numeric], values)
        means, deviations = [c.mean for c in self.numeric], np.asarray([c.std for c in self.numeric])
        scaled = np.clip((filled - means) / deviations, -_FARTHEST, _FARTHEST)
        flagged = [number for number, column in enumerate(self.numeric) if column.flag_missing]
        return np.concatenate([scaled, missing[:, flagged]], axis=1).astype(np.float32), missing

    def decode_samples(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """[n, N] standardised rows -> the same in original units."""
        means, deviations = [c.mean for c in self.numeric], [c.std for c in self.numeric]
        rows: NDArray[np.float64] = samples.astype(np.float64) * deviations + means
        return rows

    def read(self, path: str | Path) -> pd.DataFrame:
        """A CSV or Parquet file."""
        return read_table(path, texts=self.texts)

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """Input columns by type, and the columns of a prediction."""
        inputs = [{"name": column.name, "type": "double", "required": True} for column in self.numeric]
        inputs += [{"name": column.name, "type": "string", "required": True} for column in self.categorical]
        return {"kind": "table", "inputs": inputs, "outputs": self.target.columns() if self.target else []}


def as_frame(raw: Any) -> pd.DataFrame:
    """Rows in any of the forms that people have them in: a table, columns by name, or one mapping per row."""
    import pandas as pd

    if isinstance(raw, pd.DataFrame):
        return raw.rename(columns=str)
    if isinstance(raw, Mapping):
        scalar = all(np.isscalar(value) or value is None for value in raw.values())
        return pd.DataFrame([raw] if scalar else dict(raw)).rename(columns=str)
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes) and all(isinstance(row, Mapping) for row in raw):
        return pd.DataFrame(list(raw)).rename(columns=str)
    raise DataError(f"got {type(raw).__name__}; allowed: a DataFrame, a mapping of columns, or a list of mappings")


def numbers(column: pd.Series[Any], *, key: str | None = None) -> NDArray[np.float64]:
    """A column as float64; what is missing (None, NaN, an empty text) is NaN.

    Raises:
        DataError: a value is a text, a date or an infinite number; the message has it and its row.
    """
    import pandas as pd

    if column.dtype.kind in "mM":
        # pandas would count nanoseconds.
        values = np.full(len(column), np.nan)
    else:
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    sound = np.abs(values) < _LARGEST
    for row in np.flatnonzero(~sound & column.notna().to_numpy()).tolist():
        [given] = column.iloc[[row]].tolist()
        if str(given).strip().lower() not in _MISSING_TEXTS:
            raise DataError(
                f"`{column.name}` is {given!r} in {_row_name(column.index, row)}; "
                "allowed: a number such as 44400 or 0.5, or nothing where it is missing",
                key=key,
            )
    return np.where(sound, values, np.nan)


def _row_name(index: pd.Index[Any], row: int) -> str:
    import pandas as pd

    label = index[row]
    return counted("data row", label) if isinstance(index, pd.RangeIndex) else f"the row labelled {label!r}"


def _matrix(frame: pd.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """`numbers` of several columns [n, columns]; of columns that hold nothing else, all at once."""
    chosen = frame[names]
    if chosen.shape[1] == len(names) and all(dtype.kind in "iuf" for dtype in chosen.dtypes):
        values = chosen.to_numpy(dtype=np.float64, na_value=np.nan)
        # NaN is in none of the two; what is too large is told, with its row, by `numbers`.
        if not ((values >= _LARGEST) | (values <= -_LARGEST)).any():
            return values
    return np.stack([numbers(frame[name]) for name in names], axis=1)


def _codes(column: pd.Series[Any], categories: tuple[str, ...]) -> NDArray[np.int64]:
    """Numbers of categories; 0 where there is none, -1 where the vocabulary lacks it."""
    known = {name: number for number, name in enumerate(categories, start=1)}
    rows, distinct = _distinct(column)
    codes = np.asarray([known.get(text, -1) if text else 0 for text in label_texts(distinct)], dtype=np.int64)
    return codes if rows is None else np.append(codes, 0)[rows]


def _distinct(column: pd.Series[Any]) -> tuple[NDArray[np.intp] | None, Iterable[Any]]:
    """Of a long column of one type, which of its distinct values (the last one: none) each row has."""
    if column.dtype == object or len(column) < _MANY_ROWS:
        return None, column
    import pandas as pd

    rows, distinct = pd.factorize(column)
    return rows, distinct


def _survives_guessing(category: str) -> bool:
    """Whether a reader that makes a number or a boolean of it leaves the category what it is.

    >>> [_survives_guessing(text) for text in ("7", "2.5", "True", "01", "A1")]
    [True, True, True, False, False]
    """
    if category in ("True", "False"):
        return True
    try:
        return label_text(float(category)) == category
    except (ValueError, OverflowError):
        return False


def _fit_numeric(name: str, values: NDArray[np.float64]) -> NumericColumn:
    missing = np.isnan(values)
    fill = float(np.median(values[~missing])) if not missing.all() else 0.0
    filled = np.where(missing, fill, values)
    (mean,), (std,) = standardisation(filled[:, None])
    return NumericColumn(
        name=name,
        fill=fill,
        mean=mean,
        std=std,
        flag_missing=bool(missing.any() and not missing.all()),
        empty=bool(missing.all()),
    )
