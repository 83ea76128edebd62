"""Which rows are train, val and test: by chance, by chance within each class, by time, or by a column that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing.reading import counted
from forgeline_jobs.data.base import SPLITS, Indices, ShareConfig, SplitConfig, SplitName, as_int64

KEY = "data.split"


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitIndices:
    """Row numbers of each split, in ascending order: no order of the draw leaks into training."""

    train: Indices
    val: Indices
    test: Indices

    def __getitem__(self, name: SplitName) -> Indices:
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def sizes(self) -> dict[str, int]:
        """Rows per split."""
        return {name: len(self[name]) for name in SPLITS}


def random_split(rows: int, config: SplitConfig) -> SplitIndices:
    """By chance.

    Raises:
        DataError: a split would be empty.
    """
    order = np.random.default_rng(config.seed).permutation(rows)
    test, val = round(rows * config.test), round(rows * config.val)
    return _checked(order[test + val :], order[test : test + val], order[:test], rows)


def stratified_split(classes: NDArray[np.int64], config: SplitConfig) -> SplitIndices:
    """By chance within each class, at least one sample of every class in every split.

    Raises:
        DataError: a class has fewer samples than there are splits.
    """
    generator = np.random.default_rng(config.seed)
    parts: dict[SplitName, list[NDArray[Any]]] = {name: [] for name in SPLITS}
    for number in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == number))
        test, val = (max(1, round(len(members) * share)) for share in (config.test, config.val))
        if len(members) - test - val < 1:
            test, val = 1, 1
        parts["test"].append(members[:test])
        parts["val"].append(members[test : test + val])
        parts["train"].append(members[test + val :])
    train, val_rows, test_rows = (np.concatenate(parts[name]) for name in SPLITS)
    return _checked(train, val_rows, test_rows, len(classes))


def keep_labels(indices: SplitIndices, classes: NDArray[np.int64], labels: int | None, seed: int) -> SplitIndices:
    """Only `labels` samples of train, as many of each class as there are; val and test as they were.

    A smaller number keeps a part of what a larger one keeps, so that results over numbers of labels can be compared.

    Raises:
        DataError: train has fewer samples, or there would be none of a class.
    """
    if labels is None:
        return indices
    numbers = np.unique(classes[indices.train])
    if not len(numbers) <= labels <= len(indices.train):
        raise DataError(
            f"got {labels}; train has {len(indices.train)} samples of {len(numbers)} classes: "
            f"allowed are {len(numbers)} to {len(indices.train)}",
            key="data.labels",
        )
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(indices.train[classes[indices.train] == number]) for number in numbers]
    # Class by class in turn: the first of each, the second of each, …
    turns = np.concatenate([np.arange(len(members)) for members in drawn])
    kept = np.concatenate(drawn)[np.argsort(turns, kind="stable")][:labels]
    return SplitIndices(train=np.sort(kept), val=indices.val, test=indices.test)


def chronological_split(rows: int, config: ShareConfig) -> SplitIndices:
    """By position: the last rows are test, those before them val."""
    # Cut where `int(0.9 * n)` cuts, as the published splits do; the small number undoes 1 - 0.9 = 0.0999….
    test, val = rows - int(rows * (1 - config.test) + 1e-9), round(rows * config.val)
    order = np.arange(rows)
    return _checked(order[: rows - test - val], order[rows - test - val : rows - test], order[rows - test :], rows)


def fixed_split(names: Sequence[Any], *, key: str = KEY) -> SplitIndices:
    """By names that the data themselves give to each row.

    Raises:
        DataError: a name is none of train, val and test, or one of them has no rows.
    """
    given = np.asarray([str(name) for name in names])
    for row, name in enumerate(given.tolist()):
        if name not in SPLITS:
            raise DataError(f"{counted('data row', row)} says {name!r}; allowed: {', '.join(SPLITS)}", key=key)
    train, val, test = (np.flatnonzero(given == name) for name in SPLITS)
    return _checked(train, val, test, len(given), key=key)


def _checked(train: NDArray[Any], val: NDArray[Any], test: NDArray[Any], rows: int, *, key: str = KEY) -> SplitIndices:
    split = SplitIndices(train=as_int64(np.sort(train)), val=as_int64(np.sort(val)), test=as_int64(np.sort(test)))
    empty = [name for name, size in split.sizes().items() if size == 0]
    if empty:
        sizes = ", ".join(f"{name} {size}" for name, size in split.sizes().items())
        raise DataError(
            f"{rows} rows leave {' and '.join(empty)} empty ({sizes}); bring more rows or change the shares", key=key
        )
    return split
