"""Tables: the user's own CSV or Parquet file, and what every built-in table is prepared by.

Columns are told apart by their type: numbers are numeric, texts and booleans categorical. A text column in which nearly
every row differs (a name, a ticket number) cannot be learned from, nor can dates as they are; both are refused rather
than dropped unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ScaledTarget, TablePreprocessing
from forgeline.preprocessing.reading import column, read_table
from forgeline.preprocessing.tabular import numbers
from forgeline.suggestions import did_you_mean
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, Batch, ClassWeights, DataConfig, PreparedData, Split, SplitConfig
from forgeline_jobs.data.checks import balanced_weights, class_counts, class_target, numeric_target
from forgeline_jobs.data.fingerprint import Fingerprint
from forgeline_jobs.data.recent import RecentConfig, Sides, with_recent_rows
from forgeline_jobs.data.splits import SplitIndices, fixed_split, random_split, stratified_split

if TYPE_CHECKING:
    import pandas as pd

TableTask = Literal["classification", "regression"]

# A whole-number target with more distinct values than this is a quantity, not a class.
_MOST_INTEGER_CLASSES = 20
# A text column is an identifier when it has more distinct values than this and they are more than half of the rows.
_FEW_CATEGORIES = 100
# Year first or last, then perhaps a time of day: a version such as 1.2.3 is no date.
_DATE = r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3\d{4})([T ]\d{1,2}:\d{2}.*)?"


class TableSplitConfig(SplitConfig):
    """Shares by a seed, or a column that names the split of each row."""

    column: str | None = Field(default=None, description="Column that holds train, val or test for each row.")


class TabularConfig(DataConfig):
    """A table of the user's own."""

    path: str = Field(description="CSV (comma, semicolon or tab) or Parquet file.")
    target: str | tuple[str, ...] = Field(description="Column to predict; several for a regression on all of them.")
    task: TableTask | None = Field(default=None, description="Told from the target when not given.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Columns to learn from; all others when not given."
    )
    drop: tuple[str, ...] = Field(default=(), description="Columns to leave out.")
    categorical: tuple[str, ...] = Field(
        default=(), description="Columns to take as categories though they are numbers."
    )
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")
    split: TableSplitConfig = Field(default=TableSplitConfig(), description="How rows are held out.")
    recent: RecentConfig | None = Field(
        default=None, description="Labelled samples of a deployment, to learn from besides."
    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @model_validator(mode="after")
    def _names_do_not_overlap(self) -> Self:
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"target must name one column or several different ones, got {list(self.targets)}")
        for field, names in (("columns", self.columns or ()), ("drop", self.drop)):
            if both := sorted(set(names) & set(self.targets)):
                raise ValueError(f"{both[0]!r} is both the target and in {field}; remove it from one of them")
        if both := sorted(set(self.columns or ()) & set(self.drop)):
            raise ValueError(f"{both[0]!r} is both in columns and in drop; remove it from one of them")
        return self


def prepare_tabular(config: TabularConfig) -> PreparedData:
    """Read and prepare a user's table.

    Raises:
        DataError: the file, a column or a value is not what the config promises.
    """
    frame = read_table(config.path, key="data.path")
    for name in config.targets:
        column(frame, name, key="data.target")
    features = _features(frame, config)
    task = config.task or detect_task(frame, config.targets)
    if task == "classification" and len(config.targets) > 1:
        raise DataError(
            f"classification has one target, got {', '.join(config.targets)}; set `task: regression` or one target",
            key="data.target",
        )
    split = None
    if config.split.column is not None:
        split = fixed_split(
            column(frame, config.split.column, key="data.split.column").tolist(), key="data.split.column"
        )
    return prepare_table(
        frame,
        features=features,
        targets=config.targets,
        task=task,
        categorical=config.categorical,
        split=config.split,
        indices=split,
        class_weights=config.class_weights,
        recent=config.recent,
    )


def prepare_table(
    frame: pd.DataFrame,
    *,
    features: list[str],
    targets: tuple[str, ...],
    task: TableTask,
    split: SplitConfig,
    indices: SplitIndices | None = None,
    categorical: tuple[str, ...] = (),
    class_weights: ClassWeights = None,
    recent: RecentConfig | None = None,
) -> PreparedData:
    """Check, split and encode the rows of a table, with recent rows of a deployment behind them."""
    frame, sides = with_recent_rows(frame, recent, [*features, *targets])
    _refuse_dates(frame, [name for name in features if name not in categorical])
    kinds = {name: "categorical" if name in categorical else _kind(frame[name], name) for name in features}
    _check_features(frame, kinds)
    if class_weights is not None and task != "classification":
        raise DataError(f"got {class_weights!r}, which is for classification, not {task}", key="data.class_weights")
    coded, wanted = _target(frame, targets, task)
    fingerprint = Fingerprint().add_table(frame[[*features, *targets]])
    # Drawn from the table itself, or from requests: rows that change sides make other data.
    told = SPLITS if indices is not None or sides is not None else ()
    indices = _split(coded, split, task, indices, sides)
    for name in told:
        fingerprint.add_array(name, indices[name])
    train = indices["train"]
    target = wanted if wanted is not None else ScaledTarget.fit(targets, coded[train])
    preprocessing = TablePreprocessing.fit(
        frame.iloc[train],
        numeric=[name for name in features if kinds[name] == "numeric"],
        categorical=[name for name in features if kinds[name] == "categorical"],
        target=target,
    )
    encoded: Batch = preprocessing.encode(frame)
    encoded["target"] = coded if isinstance(target, ClassTarget) else target.encode(coded)
    splits: dict[str, Split] = {
        name: ArraySplit({key: array[indices[name]] for key, array in encoded.items()}) for name in SPLITS
    }
    summary: dict[str, Any] = {
        "samples": indices.sizes(),
        "task": task,
        "targets": list(targets),
        "columns": kinds,
        "missing": {name: int(count) for name, count in frame[features].isna().sum().items() if count},
    }
    weights = None
    if isinstance(target, ClassTarget):
        summary["classes"] = class_counts(target, coded)
        weights = balanced_weights(class_weights, coded[train], len(target.classes))
    return PreparedData(
        signature=_signature(preprocessing, target, task),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint.hex(),
        summary=summary,
        class_weights=weights,
        input_example=frame[features].iloc[train[:5]].reset_index(drop=True),
    )


def _split(
    coded: NDArray[Any],
    split: SplitConfig,
    task: TableTask,
    indices: SplitIndices | None = None,
    sides: Sides | None = None,
) -> SplitIndices:
    """Of the original rows by their column or by chance, of the recent ones by their requests."""
    if indices is None:
        original = coded if sides is None else coded[: sides.behind]
        indices = stratified_split(original, split) if task == "classification" else random_split(len(original), split)
    return indices if sides is None else sides.joined(indices)


def detect_task(frame: pd.DataFrame, targets: tuple[str, ...]) -> TableTask:
    """Texts, booleans and few whole numbers are classes; other numbers are quantities."""
    from pandas.api import types

    if len(targets) > 1:
        return "regression"
    values = frame[targets[0]]
    if types.is_bool_dtype(values) or not types.is_numeric_dtype(values):
        return "classification"
    known = values.dropna()
    whole = bool((known == known.round()).all())
    return "classification" if whole and known.nunique() <= _MOST_INTEGER_CLASSES else "regression"


def _features(frame: pd.DataFrame, config: TabularConfig) -> list[str]:
    for key, names in (("columns", config.columns or ()), ("drop", config.drop), ("categorical", config.categorical)):
        for name in names:
            column(frame, name, key=f"data.{key}")
    chosen = list(config.columns) if config.columns is not None else [str(name) for name in frame.columns]
    left_out = {*config.targets, *config.drop, config.split.column}
    features = [name for name in chosen if name not in left_out]
    if not features:
        raise DataError(
            "no column is left to learn from; the table has " + ", ".join(frame.columns), key="data.columns"
        )
    for name in config.categorical:
        if name not in features:
            raise DataError(f"{name!r} is not learned from; {did_you_mean(name, features)}", key="data.categorical")
    return features


def _kind(values: pd.Series[Any], name: str) -> Literal["numeric", "categorical"]:
    from pandas.api import types

    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values):
        return "numeric"
    first = values.dropna().head(1).tolist()
    if first and isinstance(first[0], list | dict | np.ndarray | bytes):
        raise DataError(
            f"column {name!r} holds {type(first[0]).__name__} values; allowed: numbers and texts; add it to `drop`",
            key="data.drop",
        )
    return "categorical"


def _refuse_dates(frame: pd.DataFrame, names: list[str]) -> None:
    dates = [name for name in names if _holds_dates(frame[name])]
    if dates:
        listed = ", ".join(dates)
        shown = str(frame[dates[0]].dropna().iloc[0])
        raise DataError(
            f"column {dates[0]!r} holds dates ({shown}), which are not learned from as they are; leave out: "
            f"drop: [{listed}], or make columns of numbers from it (year, month, weekday, days since an event). "
            f"categorical: [{listed}] makes each date a category of its own",
            key="data.drop",
        )


def _holds_dates(values: pd.Series[Any]) -> bool:
    """Dates in their own type, or texts that are all written as dates."""
    from pandas.api import types

    known = values.dropna()
    if types.is_datetime64_any_dtype(values) or not len(known):
        return bool(len(known))
    if types.is_numeric_dtype(values):
        return False
    if not isinstance(known.iloc[0], str):
        return isinstance(known.iloc[0], date)
    return bool(known.astype(str).str.strip().str.fullmatch(_DATE).all())


def _check_features(frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    rows = len(frame)
    empty = [name for name in kinds if frame[name].isna().all()]
    if empty:
        raise DataError(
            f"column {empty[0]!r} has no value in any row; leave it out: drop: [{', '.join(empty)}]", key="data.drop"
        )
    for name, kind in kinds.items():
        if kind == "numeric":
            numbers(frame[name], key="data.path")
    unlike = [
        name
        for name, kind in kinds.items()
        if kind == "categorical" and frame[name].nunique() > max(_FEW_CATEGORIES, rows // 2)
    ]
    if unlike:
        counts = ", ".join(f"{name!r} ({frame[name].nunique()} in {rows} rows)" for name in unlike)
        raise DataError(
            f"nearly every row has its own value of {counts}, which nothing can be learned from; "
            f"leave out what identifies a row: drop: [{', '.join(unlike)}]",
            key="data.drop",
        )


def _target(frame: pd.DataFrame, targets: tuple[str, ...], task: TableTask) -> tuple[NDArray[Any], ClassTarget | None]:
    """Class numbers with their classes, or [rows, targets] numbers."""
    if task == "classification":
        labels = frame[targets[0]].tolist()
        target = class_target(targets[0], labels, key="data.target")
        return target.encode(labels), target
    values = np.stack([numeric_target(frame[name], name, key="data.target") for name in targets], axis=1)
    for name, spread in zip(targets, np.ptp(values, axis=0), strict=True):
        if spread == 0:
            raise DataError(f"`{name}` is {values[0, 0]:g} in every row; there is nothing to learn", key="data.target")
    return values, None


def _signature(preprocessing: TablePreprocessing, target: ClassTarget | ScaledTarget, task: TableTask) -> Signature:
    inputs = {}
    if preprocessing.numeric:
        inputs["numeric"] = TensorSpec(shape=(preprocessing.width,), dtype="float32")
    if preprocessing.categorical:
        inputs["categorical"] = TensorSpec(shape=(len(preprocessing.categorical),), dtype="int64")
    outputs = len(target.classes) if isinstance(target, ClassTarget) else len(target.names)
    return Signature(task=task, inputs=inputs, cardinalities=preprocessing.cardinalities, outputs=(outputs,))
