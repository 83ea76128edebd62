"""Splits: every row in exactly one, by nothing but the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import DataError
from forgeline_jobs.data.base import SPLITS, ShareConfig, SplitConfig
from forgeline_jobs.data.splits import (
    SplitIndices,
    chronological_split,
    fixed_split,
    keep_labels,
    random_split,
    stratified_split,
)

shares = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))


def everything(split: SplitIndices) -> list[int]:
    return sorted(int(row) for name in SPLITS for row in split[name])


@given(st.integers(40, 200), shares, st.integers(0, 5))
def test_every_row_is_in_one_split(rows: int, share: tuple[float, float], seed: int) -> None:
    config = SplitConfig(val=share[0], test=share[1], seed=seed)
    classes = np.arange(rows) % 3
    for split in (random_split(rows, config), stratified_split(classes, config), chronological_split(rows, config)):
        assert everything(split) == list(range(rows))
    again = stratified_split(classes, config)
    assert (again.test == stratified_split(classes, config).test).all()
    assert all(set(classes[again[name]]) == {0, 1, 2} for name in SPLITS)


def test_labels_keep_as_many_of_each_class_and_leave_the_rest() -> None:
    classes = np.asarray([0] * 30 + [1] * 200 + [2] * 70)
    split = stratified_split(classes, SplitConfig())
    few, more = (keep_labels(split, classes, labels, 3) for labels in (6, 61))
    assert np.bincount(classes[few.train]).tolist() == [2, 2, 2]
    assert np.bincount(classes[more.train]).tolist() == [21, 20, 20]  # all that the first class has
    assert set(few.train) < set(more.train) < set(split.train) and (np.diff(more.train) > 0).all()
    assert more.val is split.val and more.test is split.test
    assert (keep_labels(split, classes, 6, 3).train == few.train).all()
    assert (keep_labels(split, classes, 6, 4).train != few.train).any()
    assert keep_labels(split, classes, None, 3) is split


@pytest.mark.parametrize("labels", [2, 71])
def test_labels_that_cannot_be_kept_are_refused(labels: int) -> None:
    classes = np.arange(100) % 3
    split = stratified_split(classes, SplitConfig())
    with pytest.raises(
        DataError, match=f"got {labels}; train has 70 samples of 3 classes: allowed are 3 to 70"
    ) as caught:
        keep_labels(split, classes, labels, 0)
    assert caught.value.key == "data.labels"


def test_seeds_differ() -> None:
    first, second = (random_split(100, SplitConfig(seed=seed)).test for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_time_is_kept_and_the_border_is_the_published_one() -> None:
    split = chronological_split(1_115_394, ShareConfig(val=0.05, test=0.1))
    assert split.test[0] == int(0.9 * 1_115_394)
    assert split.train[-1] + 1 == split.val[0] and split.val[-1] + 1 == split.test[0]


def test_a_class_of_three_is_in_all_splits() -> None:
    split = stratified_split(np.asarray([0] * 50 + [1] * 3), SplitConfig(val=0.4, test=0.5))
    assert [int((split[name] >= 50).sum()) for name in SPLITS] == [1, 1, 1]


def test_refusals() -> None:
    with pytest.raises(DataError, match="3 rows leave val empty") as caught:
        random_split(3, SplitConfig())
    assert caught.value.key == "data.split"
    with pytest.raises(DataError, match=r"data row 1 \(the first is 0\) says 'dev'; allowed: train, val, test"):
        fixed_split(["train", "dev"])
    with pytest.raises(ValueError, match="leave nothing to train on"):
        SplitConfig(val=0.5, test=0.5)
