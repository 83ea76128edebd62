"""Splits in memory: two of them as one."""

from __future__ import annotations

import numpy as np
import pytest

from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import Batch, Indices, Keys, as_int64


def numbered(first: int, count: int, width: int = 2) -> dict[str, np.ndarray]:
    rows = np.arange(first, first + count)
    return {"numeric": np.repeat(rows[:, None], width, axis=1).astype(np.float32), "target": rows}


def test_the_samples_of_both_are_there_once_those_of_the_other_behind() -> None:
    def negated(batch: Batch, indices: Indices, keys: Keys) -> Batch:
        return batch | {"numeric": -batch["numeric"]}

    both = ArraySplit(numbered(0, 3), augment=negated).joined(ArraySplit(numbered(3, 2)))
    assert len(both) == 5
    assert both.batch(as_int64([4, 0, 3]))["target"].tolist() == [4, 0, 3]
    assert both.batch(as_int64([4, 1]), (0, 0))["numeric"].tolist() == [[-4, -4], [-1, -1]], "all are augmented"


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"numeric is \[2\] in one and \[3\] in the other"):
        ArraySplit(numbered(0, 3)).joined(ArraySplit(numbered(3, 2, width=3)))
