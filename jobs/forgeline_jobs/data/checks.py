"""Checks that several sources share: each says what is wrong, what is allowed, and the key to change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget
from forgeline.preprocessing.reading import counted
from forgeline.preprocessing.target import label_texts
from forgeline_jobs.data.base import SPLITS, ClassWeights

# More classes than this are a sign of a number or a text taken for a label.
MOST_CLASSES = 1000


def class_target(name: str, labels: Iterable[Any], *, key: str, where: str = "data row") -> ClassTarget:
    """The classes of a whole data set, each with enough samples to be in every split.

    Raises:
        DataError: a label is missing, there is one class only, or a class has too few samples.
    """
    given = list(labels)
    texts = label_texts(given)
    missing = [number for number, text in enumerate(texts) if text is None]
    if missing:
        raise DataError(
            f"`{name}` is missing in {len(missing)} of {len(texts)} rows (first: {counted(where, missing[0])}); "
            "fill it in or remove these rows",
            key=key,
        )
    target = ClassTarget.fit(name, given)
    if len(target.classes) < 2:
        only = target.classes[0] if target.classes else "none"
        raise DataError(f"`{name}` has a single class, {only!r}; classification needs at least 2", key=key)
    if len(target.classes) > MOST_CLASSES:
        raise DataError(
            f"`{name}` has {len(target.classes)} classes in {len(texts)} rows; allowed: up to {MOST_CLASSES}. "
            "A number is learned by `task: regression`",
            key=key,
        )
    values, counts = np.unique(np.asarray(texts, dtype=str), return_counts=True)
    few = [(str(v), int(c)) for v, c in zip(values, counts, strict=True) if c < len(SPLITS)]
    if few:
        listed = ", ".join(f"{v!r} has {c} sample{'s' * (c > 1)}" for v, c in few[:5])
        raise DataError(
            f"`{name}`: class {listed}{' …' * (len(few) > 5)}; each class needs at least {len(SPLITS)}, "
            f"one for each of {', '.join(SPLITS)}",
            key=key,
        )
    return target


def finite(values: NDArray[Any], name: str, *, key: str) -> None:
    """Refuse NaN and infinite numbers; the message has the first place.

    Raises:
        DataError: there is one.
    """
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        first = bad[0].tolist()
        place = counted("sample", first[0]) + (f", position {first[1:]}" if len(first) > 1 else "")
        found = values[tuple(first)]
        raise DataError(f"`{name}` has {len(bad)} values that are not numbers (first: {found} in {place})", key=key)


def numeric_target(frame_column: Any, name: str, *, key: str) -> NDArray[np.float64]:
    """A target of numbers, none missing.

    Raises:
        DataError: a value is missing or not a number; the message has the row.
    """
    import pandas as pd

    values = pd.to_numeric(frame_column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    for row in np.flatnonzero(~np.isfinite(values))[:1]:
        given, place = frame_column.tolist()[row], counted("data row", int(row))
        if pd.isna(given):
            count = int(pd.isna(frame_column).sum())
            raise DataError(
                f"`{name}` is missing (NaN) in {count} of {len(values)} rows (first: {place}); "
                "fill it in or remove these rows",
                key=key,
            )
        raise DataError(f"`{name}` is {given!r} in {place}, wanted a finite number", key=key)
    return np.asarray(values)


def balanced_weights(config: ClassWeights, train_classes: NDArray[np.int64], count: int) -> tuple[float, ...] | None:
    """n / (classes * n_class), by which every class counts the same in the loss; None when not asked for."""
    if config is None:
        return None
    sizes = np.bincount(train_classes, minlength=count)
    return tuple(float(len(train_classes) / (count * max(size, 1))) for size in sizes)


def class_counts(target: ClassTarget, classes: NDArray[np.int64]) -> dict[str, int]:
    """Samples per class."""
    sizes = np.bincount(classes, minlength=len(target.classes))
    return {name: int(size) for name, size in zip(target.classes, sizes, strict=True)}


def user_path(path: str | Path | None, *, key: str = "data.path") -> str | Path:
    """The path of a source that needs one.

    Raises:
        DataError: it is empty.
    """
    if path is None or not str(path).strip():
        raise DataError("the path is empty; name a file or a folder", key=key)
    return path
