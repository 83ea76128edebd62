"""Series: a table in the order of time to forecast, or whole series with a label to classify.

A forecast is split by time. The windows of val and test reach back over the border, since at the time of the forecast
the past is known; their targets never lie in an earlier split. Scaling and the error of the naive forecast come from
the train part.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ScaledTarget, SeriesPreprocessing
from forgeline.preprocessing.reading import column, existing, read_arrays, read_table
from forgeline.preprocessing.series import fill_forward, lengths, order_of
from forgeline.preprocessing.tabular import numbers
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.augmentation import SeriesAugmentation, SeriesAugmenter
from forgeline_jobs.data.base import (
    SPLITS,
    Batch,
    ClassWeights,
    DataConfig,
    Indices,
    Keys,
    PreparedData,
    ShareConfig,
    Split,
    SplitConfig,
)
from forgeline_jobs.data.checks import balanced_weights, class_counts, class_target, numeric_target
from forgeline_jobs.data.fingerprint import Fingerprint, fingerprint_arrays
from forgeline_jobs.data.splits import SplitIndices, chronological_split, stratified_split

if TYPE_CHECKING:
    import pandas as pd


class SeriesConfig(DataConfig):
    """Series of the user's own."""

    path: str = Field(description="CSV or Parquet file; for classification also .npz with `series` and `labels`.")
    target: str | tuple[str, ...] | None = Field(default=None, description="Column or columns to forecast.")
    time: str | None = Field(
        default=None, description="Column that orders the rows; their order in the file when not given."
    )
    features: tuple[str, ...] = Field(default=(), description="Further columns that the forecast may read.")
    window: int = Field(default=24, ge=1, description="Rows that a forecast reads.")
    horizon: int = Field(default=1, ge=1, description="Rows that a forecast says.")
    label: str | None = Field(
        default=None, description="Column with the class; every other column is a step of the series."
    )
    augment: SeriesAugmentation = Field(default=SeriesAugmentation(), description="Random changes of training series.")
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")
    split: SplitConfig = Field(
        default=SplitConfig(), description="How samples are held out; a forecast is split by time and has no seed."
    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to forecast."""
        return () if self.target is None else (self.target,) if isinstance(self.target, str) else self.target

    @model_validator(mode="after")
    def _forecast_or_classification(self) -> Self:
        if self.targets and self.label is not None:
            raise ValueError("target (to forecast) and label (to classify) exclude each other; remove one")
        if not self.targets and self.label is None and not self.path.lower().endswith(".npz"):
            raise ValueError("name either the target to forecast or the label to classify by")
        if self.targets and self.augment.active:
            raise ValueError("augment is for the classification of series; remove it")
        if self.targets and self.class_weights is not None:
            raise ValueError("class_weights is for the classification of series; remove it")
        for key in ("time", "features", "window", "horizon"):
            if not self.targets and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is for forecasts; remove it, a series that is classified is read whole")
        if both := sorted(set(self.features) & {*self.targets, self.time}):
            raise ValueError(f"{both[0]!r} is in features and is the target or the time; remove it from features")
        return self


class ForecastSplit:
    """Windows of one table that are cut out when they are asked for.

    Args:
        values: [T, C] standardised channels of the whole table.
        targets: [T, D] standardised targets of the whole table.
        first: row of the first target of each sample.
        window: rows before it that are read.
        horizon: rows from it on that are forecast.
    """

    def __init__(
        self, values: NDArray[np.float32], targets: NDArray[np.float32], first: Indices, window: int, horizon: int
    ) -> None:
        self._values = values
        self._targets = targets
        self._first = first
        self._past = np.arange(-window, 0)
        self._future = np.arange(horizon)

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`series` [n, window, C] and `target` [n, horizon, D]."""
        first = self._first[indices][:, None]
        return {"series": self._values[first + self._past], "target": self._targets[first + self._future]}


def prepare_series(config: SeriesConfig) -> PreparedData:
    """Read and prepare a user's series.

    Raises:
        DataError: the file, a column or a value is not what the config promises.
    """
    place = existing(config.path, key="data.path")
    if config.targets:
        return prepare_forecast(
            read_table(place, key="data.path"),
            targets=config.targets,
            features=config.features,
            time=config.time,
            window=config.window,
            horizon=config.horizon,
            split=config.split,
        )
    series, labels, name = _read_labelled(place, config.label)
    target = class_target(name, labels, key="data.label", where="series")
    classes = target.encode(labels)
    indices = stratified_split(classes, config.split)
    return prepare_labelled(
        series, classes, target=target, indices=indices, augment=config.augment, class_weights=config.class_weights
    )


def prepare_forecast(
    frame: pd.DataFrame,
    *,
    targets: tuple[str, ...],
    features: tuple[str, ...],
    time: str | None,
    window: int,
    horizon: int,
    split: ShareConfig,
) -> PreparedData:
    """Order, split, scale and window a table."""
    frame = _ordered(frame, time)
    channels = (*targets, *features)
    aims = np.stack([_target_column(frame, name) for name in targets], axis=1)
    others = [_feature_column(frame, name) for name in features]
    values = np.concatenate([aims, *(other[:, None] for other in others)], axis=1)
    rows = chronological_split(len(values), split)
    first = {name: _first_targets(rows[name], name, window, horizon) for name in SPLITS}
    known = values[rows["train"]]
    mean, std = SeriesPreprocessing.statistics(known)
    scale = ScaledTarget.fit(targets, aims[rows["train"]], horizon=horizon)
    preprocessing = SeriesPreprocessing(
        channels=channels,
        mean=mean,
        std=std,
        window=window,
        horizon=horizon,
        time=time,
        target=scale,
        naive_mae=naive_error(aims[rows["train"]]),
    )
    scaled, scaled_aims = preprocessing.standardise(fill_forward(values)[None])[0], scale.encode(aims)
    splits: dict[str, Split] = {n: ForecastSplit(scaled, scaled_aims, first[n], window, horizon) for n in SPLITS}
    shown = [*([time] if time is not None else []), *channels]
    return PreparedData(
        signature=Signature(
            task="forecasting",
            inputs={"series": TensorSpec(shape=(window, len(channels)), dtype="float32")},
            outputs=(horizon, len(targets)),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=Fingerprint().add_table(frame[shown]).hex(),
        summary={
            "samples": {name: len(splits[name]) for name in SPLITS},
            "rows": rows.sizes(),
            "task": "forecasting",
            "channels": list(channels),
            "targets": list(targets),
            "window": window,
            "horizon": horizon,
            "naive_mae": preprocessing.naive_mae,
        },
        input_example=frame[shown].iloc[: window + 1].reset_index(drop=True),
    )


def prepare_labelled(
    series_NTC: NDArray[np.float64],
    classes: NDArray[np.int64],
    *,
    target: ClassTarget,
    indices: SplitIndices,
    augment: SeriesAugmentation,
    class_weights: ClassWeights,
) -> PreparedData:
    """Split and encode whole series."""
    train = indices["train"]
    mean, std = SeriesPreprocessing.statistics(series_NTC[train])
    steps, channels = series_NTC.shape[1:]
    preprocessing = SeriesPreprocessing(
        channels=tuple(f"channel{number}" for number in range(channels)),
        mean=mean,
        std=std,
        window=steps,
        varied=bool((lengths(series_NTC) < steps).any()),
        target=target,
    )
    encoded: Batch = preprocessing.encode(series_NTC) | {"target": classes}
    change = SeriesAugmenter(augment) if augment.active else None
    splits: dict[str, Split] = {
        name: ArraySplit(
            {key: array[indices[name]] for key, array in encoded.items()}, augment=change if name == "train" else None
        )
        for name in SPLITS
    }
    inputs = {"series": TensorSpec(shape=(steps, channels), dtype="float32")}
    if preprocessing.varied:
        inputs["length"] = TensorSpec(shape=(), dtype="int64")
    return PreparedData(
        signature=Signature(task="classification", inputs=inputs, outputs=(len(target.classes),)),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(
            {"series": series_NTC, "labels": classes, "classes": np.asarray(target.classes)}
        ),
        summary={
            "samples": indices.sizes(),
            "task": "classification",
            "steps": steps,
            "channels": channels,
            "classes": class_counts(target, classes),
        },
        class_weights=balanced_weights(class_weights, classes[train], len(target.classes)),
        input_example=series_NTC[train[:2]],
    )


def naive_error(train: NDArray[np.float64]) -> float:
    """Mean absolute error of "as the row before", in the sample (Hyndman & Koehler 2006, the denominator of eq. 2).

    Several targets are averaged in their own units, as the mean absolute error that it divides is.
    """
    error = float(np.abs(np.diff(train, axis=0)).mean()) if len(train) > 1 else 0.0
    if error == 0.0:
        raise DataError("the target never changes in train; there is nothing to forecast", key="data.target")
    return error


def _first_targets(rows: Indices, name: str, window: int, horizon: int) -> Indices:
    """Rows that a forecast can begin at: a whole window before them, the whole horizon inside the split."""
    whole: NDArray[np.bool_] = (rows >= window) & (rows + horizon <= rows[-1] + 1)
    if not whole.any():
        raise DataError(
            f"the {name} part has {len(rows)} rows, too few for a window of {window} and a horizon of {horizon}; "
            "make them smaller or bring more rows",
            key="data.window" if name == "train" else "data.horizon",
        )
    return rows[whole]


def _ordered(frame: pd.DataFrame, time: str | None) -> pd.DataFrame:
    if time is None:
        return frame
    order = order_of(column(frame, time, key="data.time"), key="data.time")
    return frame.iloc[order].reset_index(drop=True)


def _target_column(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return numeric_target(column(frame, name, key="data.target"), name, key="data.target")


def _feature_column(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return numbers(column(frame, name, key="data.features"), key="data.features")


def _read_labelled(place: Path, label: str | None) -> tuple[NDArray[np.float64], list[Any], str]:
    """[n, T, C] with NaN behind shorter series, the labels, and what they are called."""
    if place.suffix.lower() == ".npz":
        arrays = read_arrays(place, key="data.path")
        name = label or ("labels" if "labels" in arrays else "label")
        if "series" not in arrays or name not in arrays:
            has = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(f"`{place}` has {has}; wanted the arrays `series` and `{name}`", key="data.path")
        series, labels = arrays["series"], arrays[name].reshape(-1).tolist()
        series = series[..., None] if series.ndim == 2 else series
        if series.ndim != 3 or series.dtype.kind not in "buif":
            raise DataError(
                f"`series` is {series.dtype} {list(series.shape)}; allowed: numbers [n, t] or [n, t, c]",
                key="data.path",
            )
    else:
        frame = read_table(place, key="data.path")
        name = str(label)
        labels = column(frame, name, key="data.label").tolist()
        steps = [_feature_column(frame, other) for other in frame.columns if other != name]
        if not steps:
            raise DataError(
                f"`{place}` has no column but {name!r}; every step of the series is a column", key="data.path"
            )
        series = np.stack(steps, axis=1)[..., None]
    if len(series) != len(labels):
        raise DataError(f"`{place}` has {len(series)} series and {len(labels)} labels", key="data.path")
    empty = np.flatnonzero(np.isnan(np.asarray(series, dtype=np.float64)).all(axis=(1, 2)))
    if len(empty):
        raise DataError(f"series {empty[0]} of `{place}` has no value at all", key="data.path")
    return np.asarray(series, dtype=np.float64), labels, name
