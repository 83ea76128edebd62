"""Series: windows of a table in the order of time (forecasting), or whole series with a class (classification).

A forecast of a table is made after each row that has a full window behind it, the last one being the future. Missing
values take the last known one, then the train mean. Series of different lengths are filled up by zeros, which is the
train mean after standardising, with their `length` beside them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import counted, existing, read_arrays, read_table
from forgeline.preprocessing.tabular import numbers
from forgeline.preprocessing.target import ClassTarget, Floats, standardisation
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd


class SeriesPreprocessing(FittedPreprocessing):
    """`series` [n, T, C] float32, with `length` [n] int64 where series differ in length."""

    kind: Literal["series"] = "series"
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    window: int = Field(ge=1)
    horizon: int | None = None
    time: str | None = None
    varied: bool = False
    naive_mae: float | None = None

    @staticmethod
    def statistics(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation per channel of [..., C] train values."""
        return standardisation(values.reshape(-1, values.shape[-1]))

    def encode(self, raw: pd.DataFrame | Floats | Sequence[Any]) -> Arrays:
        """A table, or arrays [n, t, c] or [n, t] -> windows (forecasting) or whole series (classification).

        Raises:
            DataError: a column is not there, or there are fewer rows than the window.
        """
        table: Any = raw
        series = self._windows(table) if self._is_table(raw) and self.horizon is not None else self._arrays(raw)
        arrays: Arrays = {"series": self.standardise(series)}
        if self.varied:
            arrays["length"] = lengths(series)
        return arrays

    def standardise(self, series_NTC: Floats) -> NDArray[np.float32]:
        """[n, T, C] in original units -> float32 with gaps closed."""
        scaled = (np.asarray(series_NTC, dtype=np.float64) - self.mean) / np.asarray(self.std)
        bounded: NDArray[np.float64] = np.clip(np.nan_to_num(scaled, nan=0.0), -1e6, 1e6)
        return bounded.astype(np.float32)

    @staticmethod
    def _is_table(raw: Any) -> bool:
        return hasattr(raw, "columns") and hasattr(raw, "iloc")

    def _windows(self, frame: pd.DataFrame) -> Floats:
        ordered = self._ordered(frame)
        for name in self.channels:
            if name not in ordered.columns:
                raise DataError(
                    f"the table has no column {name!r}, which the model reads; {did_you_mean(name, ordered.columns)}"
                )
        values = fill_forward(np.stack([numbers(ordered[name]) for name in self.channels], axis=1))
        if len(values) < self.window:
            raise DataError(f"the table has {len(values)} rows; a forecast needs the last {self.window}")
        starts = np.arange(len(values) - self.window + 1)
        windows: Floats = values[starts[:, None] + np.arange(self.window)]
        return windows

    def _ordered(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.rename(columns=str)
        if self.time is None or self.time not in frame.columns:
            return frame
        return frame.iloc[order_of(frame[self.time])]

    def _arrays(self, raw: Any) -> Floats:
        if self._is_table(raw):
            # One series per row; the label may still be among the columns of a file that is predicted.
            own = self.target.name if isinstance(self.target, ClassTarget) else None
            columns = [numbers(raw[name]) for name in raw.columns if str(name) != own]
            raw = np.stack(columns, axis=1)
        series = raw if isinstance(raw, np.ndarray) else _filled(raw)
        series = series[..., None] if series.ndim == 2 else series
        if series.ndim != 3 or series.shape[2] != len(self.channels):
            raise DataError(
                f"got an array {list(series.shape)}; allowed: [n, t, {len(self.channels)}]"
                + (" or [n, t]" if len(self.channels) == 1 else "")
            )
        steps = series.shape[1]
        if self.horizon is not None:
            if steps < self.window:
                raise DataError(f"got series of {steps} steps; a forecast needs the last {self.window}")
            return fill_forward(series[:, -self.window :])
        if steps > self.window or (steps < self.window and not self.varied):
            raise DataError(f"got series of {steps} steps; the model takes {'up to ' * self.varied}{self.window}")
        gap = np.full((len(series), self.window - steps, series.shape[2]), np.nan)
        return np.concatenate([series, gap], axis=1)

    def read(self, path: str | Path) -> Any:
        """A CSV or Parquet file, or the `series` of an .npz file."""
        place = existing(path)
        if place.suffix.lower() != ".npz":
            return read_table(place)
        arrays = read_arrays(place)
        if "series" not in arrays:
            raise DataError(f"`{place}` has no array `series`; it has {', '.join(sorted(arrays)) or 'none'}")
        return arrays["series"]

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """In a forecast of a table with a time column: the time of the last value that each row of it rests on."""
        import pandas as pd

        if self.horizon is None or not self._is_table(raw) or self.time not in raw.columns:
            return pd.DataFrame()
        assert self.time is not None
        last = self._ordered(raw)[self.time].iloc[self.window - 1 :]
        return last.reset_index(drop=True).to_frame()

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """Channels and steps, and the columns of a prediction."""
        shape = [-1, self.window, len(self.channels)]
        series = {"name": "series", "type": "tensor", "dtype": "float32", "shape": shape}
        outputs = self.target.columns() if self.target else []
        return {
            "kind": "series",
            "inputs": [series],
            "channels": list(self.channels),
            "time": self.time,
            "outputs": outputs,
        }


def times(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column that orders rows: numbers as they are, everything else as dates, NaT where it is none."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column
    with warnings.catch_warnings():
        # pandas warns that it reads dates one by one where the first is not one: that is an answer too.
        warnings.simplefilter("ignore", UserWarning)
        return pd.to_datetime(column, errors="coerce", utc=True)


def order_of(column: pd.Series[Any], *, key: str | None = None) -> NDArray[np.intp]:
    """The order of a table's rows by its column of times.

    Raises:
        DataError: a value is no time, or is there more than once.
    """
    values = times(column)
    for row in np.flatnonzero(values.isna().to_numpy())[:1]:
        raise DataError(
            f"`{column.name}` is {column.iloc[int(row)]!r} in {counted('data row', int(row))}, "
            "wanted a time or a number",
            key=key,
        )
    order = values.reset_index(drop=True).sort_values(kind="stable")
    twice = order[order.duplicated()]
    if len(twice):
        raise DataError(
            f"`{column.name}` has {twice.iloc[0]} more than once ({len(twice)} rows in all); "
            "a series has one row per time",
            key=key,
        )
    return order.index.to_numpy()


def fill_forward(values: Floats) -> Floats:
    """[T, C] or [n, T, C] with each missing value replaced by the last known one; leading ones stay missing."""
    axis = values.ndim - 2
    steps = np.arange(values.shape[axis]).reshape(-1, 1)
    known = np.where(np.isnan(values), -1, steps)
    last = np.maximum.accumulate(known, axis=axis)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=axis)
    return np.where(last < 0, np.nan, filled)


def lengths(series_NTC: Floats) -> NDArray[np.int64]:
    """Steps up to the last one with any value; at least 1, so that a recurrent model has something to read."""
    known = ~np.isnan(series_NTC).all(axis=2)
    last: NDArray[np.int64] = (known * np.arange(1, known.shape[1] + 1)).max(axis=1, initial=0)
    return np.maximum(last, 1)


def _filled(rows: Sequence[Any]) -> Floats:
    """Series of different lengths -> one array with NaN behind the shorter ones."""
    read = [np.asarray(row, dtype=np.float64) for row in rows]
    read = [row[:, None] if row.ndim == 1 else row for row in read]
    if not read:
        raise DataError("got no series; wanted at least one")
    filled = np.full((len(read), max(len(row) for row in read), read[0].shape[1]), np.nan)
    for number, row in enumerate(read):
        filled[number, : len(row)] = row
    return filled
