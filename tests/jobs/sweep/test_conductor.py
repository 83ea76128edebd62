"""The conductor of a sweep, asked as Tune asks it: trials are lost, fail, end unseen, and none runs twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import RunFailed
from forgeline.launching.context import RunContext
from forgeline.launching.events import EventLog, EventReader
from forgeline.launching.stopping import StopControl
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline.settings import Settings
from forgeline.spec.loading import load
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.sweep.budget import Budget
from forgeline_jobs.sweep.conductor import RETRIES, Conductor
from forgeline_jobs.sweep.population_study import PopulationStudy
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.trial_run import Order
from forgeline_jobs.sweep.trials import LABEL, Outcome

SPEC = {
    "kind": "sweep",
    "name": "wine-sweep",
    "train": {"architecture": {"name": "mlp"}, "data": {"name": "wine", "batch_size": 16}},
    "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}},
    "search": {"trials": 4, "concurrent": 2},
    "objective": {"metric": "val/loss"},
    "stop": {"scheduler": "asha", "reduction": 2},
}


class Scene:
    """A sweep's ledger and files, and conductors of its executions."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
        self.ledger.create_run(id="sweep", name="wine-sweep", kind="sweep", spec="")
        self.stop = StopControl(grace_s=1)

    def conductor(self, *, again: Collection[int] = (), **changed: Any) -> tuple[Conductor, Study]:
        spec = load({**SPEC, **changed}).spec
        assert isinstance(spec, SweepSpec)
        paths = RunPaths(self.home, "sweep")
        paths.root.mkdir(parents=True, exist_ok=True)
        context = RunContext(
            run_id="sweep",
            spec=spec,
            paths=paths,
            settings=Settings(),
            ledger=self.ledger,
            tracker=Tracker(f"sqlite:///{self.home / 'mlflow.db'}"),
            attempt=1,
            events=EventLog(paths.events),
            stop=self.stop,
        )
        journal = Journal(self.ledger, self.ledger.get("sweep"))
        if spec.is_population:
            study: Study = PopulationStudy(spec, journal, maximise=[False], length=4)
        else:
            study = Study(spec, journal, maximise=[False], again=again)
        budget = Budget(spec.budget, self.ledger, "sweep")
        return Conductor(context, spec, study, budget, halted=paths.root / "halted"), study

    def run(
        self,
        order: Order,
        *,
        id: str,
        epochs: Mapping[int, float] = {},
        state: str = "succeeded",
        reason: str | None = None,
    ) -> str:
        """The run of a trial, as an actor would have left it."""
        labels = load(order.spec).spec.labels
        self.ledger.create_run(id=id, name="t", kind="train", spec=order.spec, labels=labels, parent="sweep")
        self.ledger.start_attempt(id, "first")
        with Spool(RunPaths(self.home, id).spool(attempt=1, rank=0)) as spool:
            for epoch, loss in epochs.items():
                spool.event("epoch", epoch=epoch, epochs=4, step=epoch * 10, metrics={"val/loss": loss})
        for step in ("starting", "running"):
            self.ledger.transition(id, step)
        if state != "running":
            last = {} if not epochs else {"val/loss": [*epochs.values()][-1]}
            self.ledger.transition(id, state, reason, metrics=last)
        return id

    def said(self) -> str:
        events = EventReader(RunPaths(self.home, "sweep").events).read_new()
        return "\n".join(str(event.get("text")) for event in events if event["event"] == "message")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def measured(order: Order, step: int, loss: float) -> dict[str, Any]:
    return {"trial": order.trial, "step": step, "metrics": {"val/loss": loss}, "done": False}


def ended(order: Order, state: str = "succeeded", reason: str | None = None, loss: float = 0.5) -> dict[str, Any]:
    told = {"state": state, "reason": reason, "message": "so it was", "metrics": {"val/loss": loss, "train/loss": 1.0}}
    return {"trial": order.trial, "done": True, **told}


def placed(ask: Callable[[], Order | None]) -> Order:
    order = ask()
    assert order is not None
    return order


def test_trials_are_placed_once_and_the_sweep_ends_with_the_last(scene: Scene) -> None:
    conductor, study = scene.conductor()
    orders = [placed(conductor.next) for _ in range(4)]
    assert [order.trial for order in orders] == [0, 1, 2, 3] and not any(order.resume for order in orders)
    assert conductor.next() is None and not conductor.finished()
    for order in orders:
        conductor.ended(ended(order))
    assert conductor.finished() and conductor.next() is None
    assert [trial.outcome for trial in study.trials] == [Outcome.SUCCEEDED] * 4
    assert study.trials[0].metrics == {"val/loss": 0.5}
    conductor.check()


def test_a_killed_driver_finds_the_run_of_a_trial_and_makes_no_second_one(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    first, second = placed(conductor.next), placed(conductor.next)
    scene.run(second, id="of-second", state="failed")
    conductor, _ = scene.conductor()  # killed, and resumed
    again = [placed(conductor.next) for _ in range(2)]
    assert [(order.trial, order.resume) for order in again] == [(0, None), (1, "of-second")]
    assert [order.spec for order in again] == [first.spec, second.spec]


def test_a_trial_whose_former_actor_still_lives_is_waited_for(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    order = placed(conductor.next)
    scene.run(order, id="of-first", state="running")
    conductor, study = scene.conductor()
    assert conductor.next() is None and not conductor.finished()
    assert len(study.trials) == 1, "another trial was placed before it"
    scene.ledger.transition("of-first", "failed", "platform_error")
    assert placed(conductor.next).resume == "of-first"


def test_a_run_that_succeeded_unseen_is_taken_with_all_that_it_measured(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    order = placed(conductor.next)
    scene.run(order, id="of-first", epochs={1: 0.9, 2: 0.7, 3: 0.6})
    conductor, study = scene.conductor()
    assert placed(conductor.next).trial == 1
    assert study.trials[0].reports == {1: [0.9], 2: [0.7], 3: [0.6]}
    assert (study.trials[0].outcome, study.trials[0].objectives) == (Outcome.SUCCEEDED, [0.6])


def test_a_run_that_succeeded_unseen_and_would_have_been_stopped_is_stopped(scene: Scene) -> None:
    """The kill came between what the trial measured and the verdict: with it, or without, the sweep is the same."""
    conductor, study = scene.conductor()
    good, bad = placed(conductor.next), placed(conductor.next)
    for epoch in (1, 2):
        assert conductor.measured(measured(good, epoch, 0.1))
    scene.run(bad, id="of-bad", epochs={1: 5.0, 2: 0.01})
    conductor, study = scene.conductor()
    assert placed(conductor.next).trial == good.trial
    assert placed(conductor.next).trial == 2
    assert (study.trials[1].outcome, study.trials[1].objectives) == (Outcome.PRUNED, [5.0])


def test_a_trial_that_lost_its_node_goes_on_and_is_given_up_after_some_times(scene: Scene) -> None:
    conductor, study = scene.conductor()
    order = placed(conductor.next)
    scene.run(order, id="of-first", state="failed")
    for _ in range(RETRIES):
        conductor.ended(ended(order, "failed", "node_lost"))
        again = placed(conductor.next)
        assert (again.trial, again.resume) == (0, "of-first")
    assert "it goes on from its last checkpoint" in scene.said()
    conductor.lost(0, "its process died")
    assert study.trials[0].outcome is Outcome.FAILED
    assert placed(conductor.next).trial == 1


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("user_error", Outcome.FAILED),
        ("out_of_memory", Outcome.FAILED),
        ("non_finite_loss", Outcome.FAILED),
        ("cancelled", Outcome.STOPPED),
    ],
)
def test_a_trial_that_failed_by_its_own_fault_or_was_stopped_has_ended(
    scene: Scene, reason: str, outcome: Outcome
) -> None:
    conductor, study = scene.conductor()
    order = placed(conductor.next)
    conductor.ended(ended(order, "cancelled" if reason == "cancelled" else "failed", reason))
    assert (study.trials[0].outcome, study.trials[0].message) == (outcome, "so it was")
    assert placed(conductor.next).trial == 1


def test_too_many_failures_halt_the_sweep(scene: Scene) -> None:
    conductor, _ = scene.conductor(budget={"failed_trials": 1})
    for _ in range(2):
        assert not conductor.halted()
        conductor.ended(ended(placed(conductor.next), "failed", "user_error"))
    assert conductor.halted()
    assert conductor.why_halted == "budget.failed_trials 1 is spent: 2 trials failed"


def test_what_is_under_way_when_all_stop_stays_open(scene: Scene) -> None:
    conductor, study = scene.conductor()
    order = placed(conductor.next)
    scene.stop.request("cancelled")
    assert conductor.halting() and Path(order.halted).exists()
    conductor.ended(ended(order, "cancelled", "cancelled"))
    conductor.lost(order.trial, "killed with the rest")
    assert study.trials[0].outcome is Outcome.OPEN
    scene.stop = StopControl(grace_s=1)
    conductor, _ = scene.conductor()
    assert not Path(order.halted).exists()
    assert placed(conductor.next).trial == 0


def test_all_stop_when_those_under_way_have_stopped_or_had_their_grace(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    conductor, _ = scene.conductor()
    first, second = placed(conductor.next), placed(conductor.next)
    scene.stop.request("cancelled")
    assert conductor.halting() and Path(first.halted).exists()
    assert not conductor.halted(), "both have their grace"
    conductor.ended(ended(first, "cancelled", "cancelled"))
    assert not conductor.halted()
    later = time.monotonic() + 60
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: later)
        assert conductor.halted(), "the grace is over"
    conductor.ended(ended(second, "cancelled", "cancelled"))
    assert conductor.halted()


def test_a_trial_that_is_stopped_early_is_told_at_once(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    good, bad = placed(conductor.next), placed(conductor.next)
    assert conductor.measured(measured(good, 1, 0.1)) and not Path(good.pruned).exists()
    assert not conductor.measured(measured(bad, 1, 5.0)) and Path(bad.pruned).exists()


def test_a_failure_by_its_own_fault_that_was_not_told_is_not_tried_again(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    order = placed(conductor.next)
    scene.run(order, id="of-first", state="failed", reason="user_error")
    conductor, study = scene.conductor()
    assert placed(conductor.next).trial == 1
    assert study.trials[0].outcome is Outcome.FAILED
    conductor, study = scene.conductor(again=[0])
    assert (placed(conductor.next).resume, study.trials[0].outcome) == ("of-first", Outcome.OPEN)


def test_an_error_in_an_answer_ends_the_sweep_and_is_told(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    order = placed(conductor.next)
    assert not conductor.measured({**measured(order, 1, 0.5), "metrics": {"val/accuracy": 1.0}})
    assert conductor.halting()
    with pytest.raises(RunFailed, match="did not measure 'val/loss'"):
        conductor.check()


def test_the_label_is_what_a_run_is_found_by(scene: Scene) -> None:
    conductor, _ = scene.conductor()
    order = placed(conductor.next)
    assert load(order.spec).spec.labels == {LABEL: "0"}


PBT: dict[str, Any] = {"search": {"algorithm": "pbt", "trials": 2, "interval": "2ep", "quantile": 0.5}, "stop": {}}


def paused(scene: Scene, id: str, *, reason: str = "paused") -> None:
    """The run of a trial stops at the end of an interval, with the checkpoint that it wrote."""
    scene.ledger.transition(id, "cancelled" if reason == "paused" else "failed", reason)
    folder = RunPaths(scene.home, id).checkpoints / "step-0000000020"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_text(id)
    (folder / "manifest.json").write_text("{}")


def test_a_population_waits_for_all_and_the_worse_goes_on_as_a_copy(scene: Scene) -> None:
    conductor, study = scene.conductor(**PBT)
    worse, better = placed(conductor.next), placed(conductor.next)
    assert worse.until == better.until == "2ep"
    for order, id, loss in ((worse, "worse", 0.9), (better, "better", 0.1)):
        scene.run(order, id=id, epochs={1: loss, 2: loss}, state="running")
        for step in (1, 2):
            assert conductor.measured(measured(order, step, loss))
        assert conductor.next() is None, "its last checkpoint may not be there yet"
        paused(scene, id)
        conductor.ended(ended(order, "cancelled", "paused"))
    again = [placed(conductor.next), placed(conductor.next)]
    assert [(order.trial, order.resume, order.until) for order in again] == [(0, "worse", None), (1, "better", None)]
    held = RunPaths(scene.home, "worse").checkpoints / "step-0000000020" / "state.pt"
    assert held.read_text() == "better"
    rates = [load(order.spec).spec.optimizer.lr for order in again]  # type: ignore[attr-defined]
    assert rates == [trial.values["optimizer.lr"] for trial in study.trials] and rates[0] != study.trials[0].begun
    assert "trial 0 goes on as a copy of trial 1" in scene.said()
    conductor.check()


def test_a_population_whose_driver_was_killed_copies_once_all_have_paused(scene: Scene) -> None:
    """Killed when all had reported: the one that is to be copied had not written its checkpoint."""
    conductor, _ = scene.conductor(**PBT)
    worse, better = placed(conductor.next), placed(conductor.next)
    for order, id, loss in ((worse, "worse", 0.9), (better, "better", 0.1)):
        scene.run(order, id=id, epochs={1: loss, 2: loss}, state="running")
        for step in (1, 2):
            conductor.measured(measured(order, step, loss))
    paused(scene, "worse")
    paused(scene, "better", reason="platform_error")
    conductor, study = scene.conductor(**PBT)
    first = placed(conductor.next)
    assert (first.trial, first.resume, first.until) == (1, "better", "2ep")
    assert conductor.next() is None
    scene.ledger.resume("better", driver_host="h", driver_pid=1)
    for state in ("starting", "running"):
        scene.ledger.transition("better", state)
    scene.ledger.transition("better", "cancelled", "paused")
    conductor.ended(ended(first, "cancelled", "paused"))
    again = [placed(conductor.next), placed(conductor.next)]
    assert [(order.trial, order.until) for order in again] == [(0, None), (1, None)]
    conductor, _ = scene.conductor(**PBT)  # and once more: the copy is not made twice
    checkpoints = RunPaths(scene.home, "worse").checkpoints
    (checkpoints / "step-0000000030").mkdir()
    placed(conductor.next)
    assert (checkpoints / "step-0000000030").exists()
    assert [trial.step for trial in study.trials] == [2, 2]


def test_a_report_of_a_population_that_nobody_took_in_is_taken_in_before_it_goes_on(scene: Scene) -> None:
    conductor, _ = scene.conductor(**PBT)
    worse, better = placed(conductor.next), placed(conductor.next)
    for order, id, loss in ((worse, "worse", 0.9), (better, "better", 0.1)):
        scene.run(order, id=id, epochs={1: loss, 2: loss}, state="running")
        paused(scene, id)
    conductor, study = scene.conductor(**PBT)
    orders = [order for order in (conductor.next() for _ in range(4)) if order is not None]
    assert [(order.trial, order.until) for order in orders] == [(0, None), (1, None)]
    assert study.trials[0].copies and study.trials[0].copies[0].source == 1


def test_a_source_that_failed_before_its_checkpoint_is_not_copied(scene: Scene) -> None:
    conductor, study = scene.conductor(**PBT)
    worse, better = placed(conductor.next), placed(conductor.next)
    for order, id, loss in ((worse, "worse", 0.9), (better, "better", 0.1)):
        scene.run(order, id=id, epochs={1: loss, 2: loss}, state="running")
        for step in (1, 2):
            conductor.measured(measured(order, step, loss))
    paused(scene, "worse")
    conductor.ended(ended(worse, "cancelled", "paused"))
    scene.ledger.transition("better", "failed", "user_error")
    conductor.ended(ended(better, "failed", "user_error"))
    again = placed(conductor.next)
    assert (again.trial, again.resume, again.spec) == (0, "worse", worse.spec)
    assert study.trials[0].values == study.trials[0].begun and not study.trials[0].copies
    assert "trial 0 goes on as it was: trial 1 has no checkpoint" in scene.said()
    held = RunPaths(scene.home, "worse").checkpoints / "step-0000000020" / "state.pt"
    assert held.read_text() == "worse"
    _, study = scene.conductor(**PBT)  # and after a kill
    assert study.trials[0].values == study.trials[0].begun and not study.copies


def test_a_trial_that_was_asked_to_stop_when_it_paused_has_stopped(scene: Scene) -> None:
    conductor, study = scene.conductor(**PBT)
    order = placed(conductor.next)
    scene.run(order, id="asked", epochs={1: 0.5, 2: 0.5}, state="running")
    for step in (1, 2):
        conductor.measured(measured(order, step, 0.5))
    assert scene.ledger.request_cancel("asked")
    paused(scene, "asked")
    conductor.ended(ended(order, "cancelled", "paused"))
    assert study.trials[0].outcome is Outcome.STOPPED
