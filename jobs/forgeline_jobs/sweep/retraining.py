"""The best trial trained once more, on the train and validation splits together, as a run below the sweep's.

Nothing is left to choose it by: it trains for as long as the best trial's chosen model had, and its last checkpoint
becomes the model. What it may be trusted with, the best trial has shown.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import RunCancelled, RunFailed
from forgeline.launching.context import GivesWay
from forgeline.ledger.states import Reason, State
from forgeline.spec.loading import LoadedSpec, load
from forgeline_jobs.sweep.conductor import NOT_ITS_FAULT, RETRIES
from forgeline_jobs.sweep.halt import Halt
from forgeline_jobs.sweep.points import best_spec
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.surroundings import Surroundings
from forgeline_jobs.sweep.trial_run import Order
from forgeline_jobs.sweep.trials import RETRAINED, Course
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.schedule import Schedule
from forgeline_jobs.train.spec import TrainSpec

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline.ledger.records import RunRecord


def retrain(
    context: RunContext,
    spec: SweepSpec,
    *,
    trial: int,
    course: Course,
    chosen_step: int,
    spent: Callable[[], str | None],
) -> RunRecord | None:
    """Train the model, or go on with that.

    Args:
        context: of the sweep.
        spec: of the sweep.
        trial: the best one.
        course: that it was trained with.
        chosen_step: optimizer step of its chosen model.
        spent: which part of the budget is spent; None where there is some left of each.

    Returns:
        Its run; None where the budget was spent before it had ended.

    Raises:
        RunFailed: the run failed.
        RunCancelled: the sweep was asked to stop.
        GivesWay: a run of higher priority waits for the sweep's place.
    """
    from forgeline_jobs.sweep.tuning import tune_trials

    text = whole_spec(spec, course, chosen_step=chosen_step, trial=trial).text
    conduct = _Retraining(context, spec, trial, text, spent)
    folder = context.paths.root / "tune"
    try:
        if not conduct.finished() and not conduct.halting():
            context.message(f"trial {trial} is trained once more, on train and val together")
            tune_trials(conduct, folder=folder, at_once=1, name=f"{spec.name}-retrained")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return conduct.ended_run()


def whole_spec(spec: SweepSpec, course: Course, *, chosen_step: int, trial: int) -> LoadedSpec:
    """The train spec: the trial's, for as long as its chosen model was trained, on both splits."""
    loaded = best_spec(spec, course)
    trained = cast(TrainSpec, loaded.spec)
    schedule = Schedule.of_run(trained, len(prepare(trained.data, verify=False).splits["train"]))
    length, per_epoch = trained.length, schedule.steps_per_epoch
    count = chosen_step if length.unit == "step" else math.ceil(chosen_step / per_epoch)
    changes = [change for change in loaded.spec.resolved()["changes"] if trained.changes and _before(change, count)]
    return load(
        loaded.text,
        {
            "name": f"{spec.name[:53]}-retrained",
            "labels": {**spec.labels, RETRAINED: str(trial)},
            "trainer.epochs" if length.unit == "ep" else "trainer.steps": count,
            "changes": changes,
            "data.train_on": "train+val",
            "checkpoint.select": "last",
        },
    )


def _before(change: Mapping[str, Any], count: int) -> bool:
    return int(str(change["after"]).rstrip("epst")) < count


class _Retraining:
    """Has Tune place the one run, again where it was lost."""

    def __init__(
        self, context: RunContext, spec: SweepSpec, trial: int, text: str, spent: Callable[[], str | None]
    ) -> None:
        self._context = context
        self._spec = spec
        self._trial = trial
        self._text = text
        self._spent = spent
        self._surroundings = Surroundings(context.outranked)
        self._placed = False
        self._retried = 0
        self._halt = Halt(context.paths.root / "halted", grace_s=context.grace_s)
        self._error: RunFailed | None = None

    def next(self) -> Order | None:
        run = self._run()
        if self._placed or self.finished() or (run is not None and not run.is_final):
            return None  # an actor that died has its run until its lease is over
        self._placed = True
        return Order(
            trial=self._trial,
            spec=self._text,
            sweep=self._context.run_id,
            resume=None if run is None else run.id,
            cluster=self._context.cluster,
            unit=self._spec.unit,
            until=None,
            halted=str(self._halt.file),
            pruned=str(self._halt.of_one("retrained")),
        )

    def finished(self) -> bool:
        run = self._run()
        return self._error is not None or (run is not None and run.state is State.SUCCEEDED)

    def measured(self, result: Mapping[str, Any]) -> bool:
        self._context.progressed()
        return True

    def ended(self, result: Mapping[str, Any]) -> None:
        self._placed = False
        reason = None if result["reason"] is None else Reason(result["reason"])
        if result["state"] != State.SUCCEEDED and self._halt.why is None:
            self._failed(str(result["message"]), reason)

    def lost(self, trial: int, message: str) -> None:
        self._placed = False
        self._failed(message, Reason.NODE_LOST)

    def halting(self) -> bool:
        if self._halt.why is None:
            asked = "stopped as asked" if self._context.cancel_requested() else None
            if why := asked or self._spent() or self._surroundings.look():
                self._halt.ask(why)
        return self._halt.why is not None or self._error is not None

    def halted(self) -> bool:
        return self.halting() and (not self._placed or self._halt.is_overdue)

    def ended_run(self) -> RunRecord | None:
        """The run, once it has succeeded; None where the budget was spent before."""
        if self._error is not None:
            raise self._error
        run = self._run()
        if run is not None and run.state is State.SUCCEEDED:
            return run
        if self._surroundings.gives_way:
            raise GivesWay(self._halt.why)
        if self._context.cancel_requested():
            raise RunCancelled("stopped as asked; the retraining is gone on with when the sweep is resumed")
        return None

    def _failed(self, message: str, reason: Reason | None) -> None:
        self._retried += 1
        if reason not in NOT_ITS_FAULT or self._retried > RETRIES:
            text = f"the retraining on train and val failed: {message}"
            self._error = RunFailed(text, reason=reason or Reason.PLATFORM_ERROR)
            return
        self._context.message(f"the retraining: {message}; it goes on from its last checkpoint", level="warning")

    def _run(self) -> RunRecord | None:
        runs = self._context.ledger.list_runs(parent=self._context.run_id)
        return next((run for run in runs if run.labels.get(RETRAINED) == str(self._trial)), None)
