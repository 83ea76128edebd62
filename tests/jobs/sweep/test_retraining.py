"""The spec of the model that a sweep registers when it is trained once more, on both splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from forgeline.errors import RunCancelled
from forgeline.launching.context import RunContext
from forgeline.launching.events import EventLog
from forgeline.launching.stopping import StopControl
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline.settings import Settings
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.sweep.retraining import retrain, whole_spec
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import TrainSpec


def sweep(**trainer: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "kind": "sweep",
            "name": "wine",
            "train": {
                "architecture": {"name": "mlp"},
                "data": {"name": "wine", "batch_size": 16},
                "trainer": trainer,
            },
            "space": {"optimizer.lr": {"uniform": [0, 1]}},
            "search": {"algorithm": "pbt", "interval": "2ep" if "epochs" in trainer else "20step"},
            "objective": {"metric": "val/loss"},
        }
    )


COURSE = [(0, {"optimizer.lr": 0.1}), (2, {"optimizer.lr": 0.2}), (6, {"optimizer.lr": 0.3})]


@pytest.mark.parametrize(("chosen", "epochs", "changes"), [(56, 8, 2), (57, 9, 2), (42, 6, 1), (14, 2, 0)])
def test_it_trains_as_many_epochs_as_the_chosen_model_had(chosen: int, epochs: int, changes: int) -> None:
    """Of 125 rows in batches of 16, 7 steps are an epoch; with the 18 of the validation split they are 8."""
    spec = cast(TrainSpec, whole_spec(sweep(epochs=10), COURSE, chosen_step=chosen, trial=3).spec)
    assert (spec.trainer.epochs, len(spec.changes)) == (epochs, changes)
    assert (spec.optimizer.lr, spec.checkpoint.select) == (0.1, "last")
    assert spec.labels == {"sweep-retrained": "3"}
    data = prepare(spec.data)
    alone = prepare(spec.data.model_copy(update={"train_on": "train"}))
    both = [len(alone.splits[name]) for name in ("train", "val")]
    assert len(data.splits["train"]) == sum(both) == data.summary["samples"]["train"]


def test_a_length_in_steps_stays_one() -> None:
    spec = cast(TrainSpec, whole_spec(sweep(steps=90, validate_every=10), COURSE[:1], chosen_step=33, trial=0).spec)
    assert (spec.trainer.steps, spec.trainer.epochs) == (33, None)


def test_what_has_no_budget_left_is_not_retrained(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.create_run(id="sweep", name="wine", kind="sweep", spec="")
    paths = RunPaths(tmp_path, "sweep")
    paths.root.mkdir(parents=True)
    context = RunContext(
        run_id="sweep",
        spec=sweep(epochs=10),
        paths=paths,
        settings=Settings(),
        ledger=ledger,
        tracker=Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}"),
        attempt=1,
        events=EventLog(paths.events),
        stop=StopControl(grace_s=1),
    )
    spent = "budget.wall 1s is spent"
    assert retrain(context, context.spec, trial=0, course=COURSE, chosen_step=14, spent=lambda: spent) is None
    assert ledger.list_runs(parent="sweep") == []
    context.stop.request("cancelled")
    with pytest.raises(RunCancelled, match="gone on with when the sweep is resumed"):
        retrain(context, context.spec, trial=0, course=COURSE, chosen_step=14, spent=lambda: None)
