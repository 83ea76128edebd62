"""Steps and batches of a run, from its specification and the size of its train split."""

from __future__ import annotations

from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline_jobs.train.schedule import Schedule

SPEC = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp"},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"epochs": 3, "accumulate": 2},
}


def test_a_run_takes_whole_batches_and_whole_steps_alone() -> None:
    spec: Any = load(SPEC).spec
    schedule = Schedule.of_run(spec, 16 * 7 + 15)
    assert (schedule.batches_per_epoch, schedule.steps_per_epoch, schedule.total_steps) == (6, 3, 9)


def test_a_split_that_makes_no_step_is_refused() -> None:
    spec: Any = load(SPEC).spec
    with pytest.raises(SpecError, match="the train split holds 1 batches") as refused:
        Schedule.of_run(spec, 31)
    assert refused.value.key == "trainer.accumulate"
