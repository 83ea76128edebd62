"""Settings that change while a run trains: which are refused, and which hold when."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import SpecError
from forgeline.spec.loading import dump, load
from forgeline_jobs.train import changes
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.spec import TrainSpec


def spec(*changed: Any, **trainer: Any) -> TrainSpec:
    fields = {
        "kind": "train",
        "name": "wine",
        "architecture": {"name": "mlp"},
        "data": {"name": "wine"},
        "trainer": trainer or {"epochs": 10},
        "optimizer": {"lr": 0.1, "weight_decay": 0.5},
        "changes": list(changed),
    }
    return cast(TrainSpec, load(fields).spec)


def change(after: str, **values: Any) -> dict[str, Any]:
    return {"after": after, "values": {f"optimizer.{key}": value for key, value in values.items()}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([{"after": "2ep", "values": {"data.batch_size": 8}}], "data.batch_size stays as it is for a run's life"),
        ([{"after": "2ep", "values": {"optimizer.lrr": 8}}], "did you mean `optimizer.lr`"),
        ([change("2ep", lr=-1)], "changes.0.values, lr: got -1; Input should be greater than 0"),
        ([change("20step", lr=1)], "give both in epochs, or in steps"),
        ([change("10ep", lr=1)], "changes.0.after 10ep: the run trains for 10ep"),
        ([change("4ep", lr=1), change("4ep", lr=2)], "changes.1.after 4ep: it does not come after the change at 4ep"),
        ([{"after": "2ep", "values": {}}], "changes"),
    ],
)
def test_what_cannot_change_is_refused(changed: list[Any], said: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec(*changed)
    assert said in str(refused.value)


def test_a_change_is_held_against_the_task() -> None:
    smoothed = {"after": "2ep", "values": {"trainer.label_smoothing": 0.1}}
    regression = spec(smoothed).model_copy(update={"data": spec().data.model_copy(update={"name": "diabetes"})})
    with pytest.raises(SpecError, match="label smoothing is for classification"):
        TrainKind().check(regression)
    TrainKind().check(spec(smoothed))


def test_each_change_adds_to_those_before_it() -> None:
    changed = spec(change("2ep", lr=0.2), change("4ep", weight_decay=0.25), change("6ep", lr=0.3))
    rates = [
        (at.optimizer.lr, at.optimizer.weight_decay) for at in (changes.with_changes(changed, n) for n in range(4))
    ]
    assert rates == [(0.1, 0.5), (0.2, 0.5), (0.2, 0.25), (0.3, 0.25)]
    assert cast(TrainSpec, load(dump(changed)).spec) == changed


def test_a_change_holds_from_its_step_on() -> None:
    changed = spec(change("2ep", lr=0.2), change("4ep", lr=0.3)).changes
    made = [changes.made_by(changed, step, steps_per_epoch=7) for step in (0, 13, 14, 15, 27, 28, 99)]
    assert made == [0, 0, 1, 1, 1, 2, 2]


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(1e-6, 1)), max_size=6, unique_by=lambda at: at[0]))
def test_a_course_becomes_changes_that_give_it_again(turns: list[tuple[int, float]]) -> None:
    course = [(0, {"optimizer.lr": 0.1}), *((step, {"optimizer.lr": rate}) for step, rate in sorted(turns))]
    changed = spec(*changes.of_course(course, "step"), steps=100)
    for step, values in course:
        count = changes.made_by(changed.changes, step, steps_per_epoch=7)
        assert changes.with_changes(changed, count).optimizer.lr == values["optimizer.lr"]
