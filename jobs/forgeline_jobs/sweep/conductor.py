"""The conductor of a sweep: between the study, which decides, Ray Tune, which places trials, and the ledger.

A trial's run is found again by its label, never by what a journal says of it: a driver that was killed between making
the run and writing that down makes no second one.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forgeline.errors import RunFailed
from forgeline.ledger.records import RunRecord
from forgeline.ledger.states import FINAL, Reason, State
from forgeline.paths import RunPaths
from forgeline.spec.units import Length
from forgeline_jobs.sweep import copying
from forgeline_jobs.sweep.budget import Budget
from forgeline_jobs.sweep.halt import Halt
from forgeline_jobs.sweep.live import Telling, in_words
from forgeline_jobs.sweep.points import train_spec
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.surroundings import Surroundings
from forgeline_jobs.sweep.trial_run import Order, earlier, measured_at, numbers
from forgeline_jobs.sweep.trials import LABEL, Copy, Outcome, Trial

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext

NOT_ITS_FAULT = frozenset(
    {Reason.NODE_LOST, Reason.PREEMPTED, Reason.HANG, Reason.PLATFORM_ERROR, Reason.TRACKER_UNREACHABLE}
)
RETRIES = 3
"""How often a trial that failed by no fault of its own is gone on with, in one execution of the sweep."""

HELD_S = 120.0
"""How long an actor of an earlier execution is waited for; a lease that is not renewed is over within a minute."""

Answer = TypeVar("Answer")


class Conductor:
    """Answers Tune's questions.

    Args:
        context: of the sweep's run.
        spec: of the sweep.
        study: its mind.
        budget: what it may spend.
        halted: file that tells the trials' actors that the whole sweep stops.
    """

    def __init__(
        self,
        context: RunContext,
        spec: SweepSpec,
        study: Study,
        budget: Budget,
        *,
        halted: Path,
    ) -> None:
        self._context = context
        self._spec = spec
        self._study = study
        self._budget = budget
        self._halt = Halt(halted, grace_s=context.grace_s)
        self._surroundings = Surroundings(context.outranked)
        self._lock = threading.Lock()
        self._placed: set[int] = set()
        self._retried: dict[int, int] = {}
        self._held: dict[str, float] = {}
        self._copied: Sequence[Copy] = ()
        self._error: Exception | None = None
        self._telling = Telling(context.emit, spec, study.trials)

    def next(self) -> Order | None:
        """One that is under way and has no actor, else a new one."""
        return self._guarded(self._next, None)

    def finished(self) -> bool:
        """Whether all trials have ended and there are no more."""
        waiting = [trial for trial in self._study.open_trials() if trial.number not in self._placed]
        return not waiting and not self._placed and self._study.is_full()

    def measured(self, result: Mapping[str, Any]) -> bool:
        """Take a measurement in."""
        return self._guarded(lambda: self._measured(result), False)

    def ended(self, result: Mapping[str, Any]) -> None:
        """Take the end of a run in."""
        self._guarded(lambda: self._ended(result), None)

    def lost(self, trial: int, message: str) -> None:
        """The actor died, its run is closed by whoever looks next, and is gone on with."""
        self._guarded(lambda: self._go_on(trial, message), None)

    def halted(self) -> bool:
        """Whether Tune is to end: all trials were to stop, and have done so or had their grace for it."""
        return self.halting() and (not self._placed or self._halt.is_overdue)

    def halting(self) -> bool:
        """Whether all trials are to stop: the sweep was cancelled, has spent its budget, or gives way."""
        self._guarded(self._telling.tick, None)
        if self._halt.why is None and (why := self._guarded(self._reason_to_stop, None)) is not None:
            self._halt.ask(why)
        return self._halt.why is not None

    @property
    def why_halted(self) -> str | None:
        """Why all trials were stopped; None where they were not, or had ended when the sweep was to give way."""
        return None if self._surroundings.gives_way and self.finished() else self._halt.why

    @property
    def gives_way(self) -> bool:
        """Whether all trials were stopped since another run goes first."""
        return self._surroundings.gives_way and not self.finished()

    def check(self) -> None:
        """Raises what went wrong while Tune asked."""
        self._telling.close()
        if self._error is not None:
            raise self._error

    def _reason_to_stop(self) -> str | None:
        if self._error is not None:
            return "the sweep cannot go on"
        if self._context.cancel_requested():
            return "cancelled"
        return self._budget.spent(self._study.trials) or self._surroundings.look()

    def _guarded(self, call: Callable[[], Answer], otherwise: Answer) -> Answer:
        """Tune hides errors of its callbacks, or goes on after them: the sweep is halted, and raises the first."""
        with self._lock:
            try:
                return call()
            except Exception as error:
                if self._error is None:
                    traceback.print_exc()
                    self._error = error
                return otherwise

    def _next(self) -> Order | None:
        if due := self._copies_due():
            return self._before_copying(due)
        waiting = [trial for trial in self._study.open_trials() if trial.number not in self._placed]
        for trial in waiting:
            if self._study.waits(trial.number):
                continue
            run = self.run_of(trial.number)
            if run is not None and self._is_held(run):
                return None
            order = self._order(trial, run)
            if order is not None:
                return order
        new = self._study.ask()
        return None if new is None else self._place(new, run=None)

    def _copies_due(self) -> list[Copy]:
        """Copies of the newest generation that were not made yet."""
        if self._study.copies == self._copied:
            return []
        home, found = self._context.paths.home, []
        for copy in self._study.copies:
            target, source = self.run_of(copy.trial), self.run_of(copy.source)
            if target is None or source is None or self._study.trials[copy.trial].outcome is not Outcome.OPEN:
                continue
            if not copying.is_made(RunPaths(home, target.id), source.id, copy.step):
                found.append(copy)
        if not found:
            self._copied = self._study.copies
        return found

    def _before_copying(self, due: Sequence[Copy]) -> Order | None:
        """Make the copies, where all whom they concern have paused; else have one of these go there first.

        A trial's report comes before its last checkpoint is on the disk, and its driver may die between them.
        """
        for copy in due:
            trial, run = self._study.trials[copy.source], self.run_of(copy.source)
            assert run is not None
            if copy.source in self._placed or trial.outcome is not Outcome.OPEN or run.reason is Reason.PAUSED:
                continue
            return None if self._is_held(run) else self._place(trial, run, until=copy.step)
        runs = {number: self.run_of(number) for copy in due for number in (copy.trial, copy.source)}
        if self._placed or any(run is not None and self._is_held(run) for run in runs.values()):
            return None
        for copy in due:
            target, source = runs[copy.trial], runs[copy.source]
            assert target is not None and source is not None
            self._copy(copy, target, source)
        return self._next()

    def _copy(self, copy: Copy, target: RunRecord, source: RunRecord) -> None:
        home, said = self._context.paths.home, self._context.message
        if not copying.is_possible(RunPaths(home, source.id), copy.step, self._spec.unit):
            self._study.drop(copy)
            said(f"trial {copy.trial} goes on as it was: trial {copy.source} has no checkpoint at {copy.step} any more")
            return
        copying.make(RunPaths(home, target.id), RunPaths(home, source.id), copy.step)
        said(f"trial {copy.trial} goes on as a copy of trial {copy.source}, with {in_words(copy.values)}")

    def _is_held(self, run: RunRecord) -> bool:
        """Whether an actor of an earlier execution still has the run: it is about to die, or not known to be dead."""
        if run.is_final:
            self._held.pop(run.id, None)
            return False
        since = self._held.setdefault(run.id, time.monotonic())
        return time.monotonic() - since < HELD_S

    def _order(self, trial: Trial, run: RunRecord | None) -> Order | None:
        """How to place a trial that is under way; None where its run is as far as it gets, and nobody was told."""
        if run is not None and self._spec.is_population:
            # What it had not told may have been what the others waited for.
            if not self._caught_up(trial.number, run) or self._copies_due():
                return None
        own_fault = (
            run is not None
            and run.state is State.FAILED
            and run.reason is not None
            and run.reason not in NOT_ITS_FAULT
            and not self._study.is_again(trial.number)
        )
        if run is None or not (run.state is State.SUCCEEDED or own_fault):
            return self._place(trial, run)
        if self._caught_up(trial.number, run):
            self._take_end(trial.number, run.state, run.reason, run.message or "", run.metrics)
        return None

    def _caught_up(self, number: int, run: RunRecord) -> bool:
        """Take in what the run measured and nobody was told; whether the trial goes on.

        Training does not wait for what is made of its measurements: one of them may have been its last.
        """
        for event in earlier(RunPaths(self._context.paths.home, run.id)):
            step = measured_at(event, self._spec.unit)
            if not self._measured({"trial": number, "step": step, "metrics": numbers(event["metrics"])}):
                return False
        return not self._study.waits(number)

    def _place(self, trial: Trial, run: RunRecord | None, *, until: int | None = None) -> Order:
        context = self._context
        pause = until or self._study.pause
        loaded = train_spec(self._spec, trial.values, name=trial_name(self._spec.name, trial.number))
        labels = {**loaded.spec.labels, LABEL: str(trial.number)}
        text = _labelled(loaded.text, labels)
        self._placed.add(trial.number)
        pruned = self._halt.of_one(str(trial.number))
        pruned.unlink(missing_ok=True)
        self._telling.changed(trial, "starting")
        return Order(
            trial=trial.number,
            spec=text,
            sweep=context.run_id,
            resume=None if run is None else run.id,
            cluster=context.cluster,
            unit=self._spec.unit,
            until=None if pause is None else str(Length(pause, self._spec.unit)),
            halted=str(self._halt.file),
            pruned=str(pruned),
        )

    def run_of(self, trial: int) -> RunRecord | None:
        """The run of a trial, where it was made."""
        runs = self._context.ledger.list_runs(parent=self._context.run_id)
        return next((run for run in runs if run.labels.get(LABEL) == str(trial)), None)

    def _measured(self, result: Mapping[str, Any]) -> bool:
        number, trial = result["trial"], self._study.trials[result["trial"]]
        if trial.outcome is not Outcome.OPEN:
            return False
        objectives = self._objectives(result["metrics"])
        goes_on = self._study.report(number, result["step"], objectives)
        self._context.progressed()
        if not goes_on:
            self._placed.discard(number)
            pruned = self._halt.of_one(str(number))
            pruned.parent.mkdir(exist_ok=True)
            pruned.touch()
        self._telling.changed(trial, "running" if goes_on else "pruned")
        return goes_on

    def _ended(self, result: Mapping[str, Any]) -> None:
        number = result["trial"]
        if self._study.trials[number].outcome is not Outcome.OPEN:
            return
        self._placed.discard(number)
        reason = None if result["reason"] is None else Reason(result["reason"])
        self._take_end(number, State(result["state"]), reason, result["message"], result["metrics"])

    def _take_end(
        self, number: int, state: State, reason: Reason | None, message: str, metrics: Mapping[str, float]
    ) -> None:
        trial = self._study.trials[number]
        if state is State.SUCCEEDED:
            kept = {name: value for name, value in metrics.items() if name.startswith("val/")}
            self._study.end(number, Outcome.SUCCEEDED, objectives=self._objectives(metrics), metrics=kept)
        elif reason is Reason.PAUSED and not self._was_to_stop(number):
            self._telling.changed(trial, "waiting")
            return
        elif self.halted_now():
            return  # it stays open, and is gone on with when the sweep is resumed
        elif reason in NOT_ITS_FAULT or state not in FINAL:
            self._go_on(number, message)
            return
        elif reason in (Reason.CANCELLED, Reason.PAUSED):
            self._study.end(number, Outcome.STOPPED, message=message)
        else:
            self._study.end(number, Outcome.FAILED, message=message)
        self._telling.changed(trial, str(trial.outcome))

    def _was_to_stop(self, number: int) -> bool:
        """Whether a person had asked a trial to stop, and it came to the end of its interval first."""
        run = self.run_of(number)
        return run is not None and self._context.ledger.cancel_requested(run.id)

    def halted_now(self) -> bool:
        """Whether the wish to stop is there, without looking for new reasons."""
        return self._halt.file.exists()

    def _go_on(self, number: int, message: str) -> None:
        self._placed.discard(number)
        trial = self._study.trials[number]
        if trial.outcome is not Outcome.OPEN or self.halted_now():
            return
        self._retried[number] = self._retried.get(number, 0) + 1
        if self._retried[number] > RETRIES:
            self._study.end(number, Outcome.FAILED, message=f"{message}; given up after {RETRIES} times more")
            self._telling.changed(trial, "failed")
            return
        self._context.message(f"trial {number}: {message}; it goes on from its last checkpoint", level="warning")

    def _objectives(self, metrics: Mapping[str, float]) -> Sequence[float]:
        try:
            return [metrics[objective.metric] for objective in self._spec.objectives]
        except KeyError as error:
            raise RunFailed(f"a trial did not measure {error}", reason="user_error") from error


def trial_name(sweep: str, number: int) -> str:
    """The name of a trial's run.

    >>> trial_name("digits", 7)
    'digits-trial-007'
    """
    return f"{sweep[:50]}-trial-{number:03d}"


def _labelled(text: str, labels: Mapping[str, str]) -> str:
    from forgeline.spec.loading import load

    return load(text, {"labels": dict(labels)}).text
