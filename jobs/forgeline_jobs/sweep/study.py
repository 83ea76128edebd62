"""The mind of a sweep: what to try next, and which trial to stop. All it knows follows from the journal.

An Optuna study is told the journal's entries in the order in which they were written, from the seed on: the sampler
draws its random numbers in the same order as before, so that a sweep that was killed anywhere goes on with the
suggestions that it would have made (a test holds every kill point). Optuna's own storages and Tune's pickles are not
used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from forgeline.errors import RunFailed
from forgeline_jobs.sweep import samplers
from forgeline_jobs.sweep.constraints import Constraint, broken_by
from forgeline_jobs.sweep.requirements import violations
from forgeline_jobs.sweep.space import Values, draws, product, suggest
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Copy, Outcome, Trial, as_told, take, told

if TYPE_CHECKING:
    import optuna

TRIES = 1000
"""Suggestions in a row that may break a constraint."""

OWN_TRIES = 20
"""Of these, how many are the sampler's own."""


class Entries(Protocol):
    """A journal."""

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]: ...

    def append(self, *entries: Mapping[str, Any]) -> None: ...


class Study:
    """Suggests and judges; every answer is in the journal before it is given. One thread at a time.

    Args:
        spec: of the sweep.
        journal: what was written so far.
        maximise: of each objective, whether more is better.
        known: of the train spec, the keys that constraints may name, with their values.
        taught: gives the trials of an earlier sweep over the same space, when the sweep begins.
        again: numbers of trials that ended without success, and are gone on with now.

    Attributes:
        trials: all of them, by number.

    Raises:
        RunFailed: the journal's suggestions are not those that this version of Optuna makes.
    """

    def __init__(
        self,
        spec: SweepSpec,
        journal: Entries,
        *,
        maximise: Sequence[bool],
        known: Mapping[str, Any] | None = None,
        taught: Callable[[], Sequence[Trial]] = tuple,
        again: Collection[int] = (),
    ) -> None:
        self._spec = spec
        self._journal = journal
        self._constraints = [Constraint(text) for text in spec.constraints]
        self._known = dict(known or {})
        self._points: list[Values] | None = None
        if spec.search.algorithm == "grid":
            # A sweep that is resumed with fewer trials has still tried those that it has.
            tried = sum(entry["entry"] == "asked" for entry in journal.entries)
            self._points = list(islice(grid(spec, self._known), max(spec.search.trials, tried)))
        self._study = samplers.new_study(spec, maximise)
        self._draws = samplers.uniform_draws(spec)
        self._optuna: list[optuna.Trial] = []
        self._again: set[int] = set()  # trials that Optuna was told the end of, and that have another one
        self.trials: list[Trial] = []
        if not journal.entries and (known_trials := taught()):
            # Written down, since the earlier sweep may go on, and its trials would be others the next time.
            journal.append({"entry": "taught", "trials": [told(trial) for trial in known_trials]})
        for entry in journal.entries:
            self._replay(entry)
        for trial in to_go_on_with(self.trials, again):
            self._write({"entry": "again", "trial": trial.number})
            self._again.add(trial.number)

    def ask(self) -> Trial | None:
        """One more trial; None where the grid has no further point, or there are as many as were asked for."""
        if self.is_full():
            return None
        number = len(self.trials)
        trial, values = self._suggest(number)
        self._write({"entry": "asked", "trial": number, "values": values})
        self._optuna.append(trial)
        return self.trials[number]

    def report(self, number: int, step: int, objectives: Sequence[float]) -> bool:
        """Take a measurement in; returns whether the trial goes on, else it has ended with it.

        A measurement that is known already changes nothing.
        """
        trial = self.trials[number]
        if step <= trial.step:
            return True
        if self._judge(number, step, objectives):
            self._write(_reported(number, step, objectives))
            return True
        message = f"stopped early at {step}{self._spec.unit}"
        # Together, since a trial of which the verdict alone is known would go on.
        self._write(
            _reported(number, step, objectives), _ended(number, Outcome.PRUNED, objectives=objectives, message=message)
        )
        return False

    def end(
        self,
        number: int,
        outcome: Outcome,
        *,
        objectives: Sequence[float] | None = None,
        metrics: Mapping[str, float] | None = None,
        message: str = "",
    ) -> None:
        """A trial has ended otherwise than by a report.

        Args:
            outcome: how.
            objectives: of the chosen model; None where there is none.
            metrics: the same, all of them.
            message: why it failed.
        """
        self._write(_ended(number, outcome, objectives=objectives, metrics=metrics, message=message))

    def is_full(self) -> bool:
        """Whether there are as many trials as were asked for, or as the grid has points."""
        most = self._spec.search.trials if self._points is None else min(self._spec.search.trials, len(self._points))
        return len(self.trials) >= most

    @property
    def pause(self) -> int | None:
        """The step at which trials wait for each other next; None where they go on to their ends."""
        return None

    def waits(self, number: int) -> bool:
        """Whether a trial has trained as far as it may for now."""
        return False

    @property
    def copies(self) -> Sequence[Copy]:
        """Those that are to be made before trials go on, where they were not made yet."""
        return ()

    def drop(self, copy: Copy) -> None:
        """A copy that cannot be made: the trial goes on as it was."""
        self._write({"entry": "dropped", "trial": copy.trial, "step": copy.step})

    def is_again(self, number: int) -> bool:
        """Whether a trial that had ended is gone on with."""
        return number in self._again

    def open_trials(self) -> list[Trial]:
        """Those that have not ended."""
        return [trial for trial in self.trials if trial.outcome is Outcome.OPEN]

    def _write(self, *entries: Mapping[str, Any]) -> None:
        self._journal.append(*entries)
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        """What follows from an entry, whether it was just written or was there."""
        take(self.trials, entry)
        if entry["entry"] == "ended":
            self._tell(entry)

    def _replay(self, entry: Mapping[str, Any]) -> None:
        if entry["entry"] == "taught":
            for trial in entry["trials"]:
                self._teach(as_told(trial))
        elif entry["entry"] == "asked":
            trial, values = self._suggest(entry["trial"])
            if values != dict(entry["values"]):
                raise RunFailed(
                    f"trial {entry['trial']} was {dict(entry['values'])} and would now be {values}: the space, the "
                    "seed, or the version of Optuna is another; start a new sweep with search.warm_start",
                    reason="platform_error",
                )
            self._optuna.append(trial)
        elif entry["entry"] == "reported":
            self._judge(entry["trial"], entry["step"], entry["objectives"])
        elif entry["entry"] == "again":
            self._again.add(entry["trial"])
        self._take(entry)

    def _suggest(self, number: int) -> tuple[optuna.Trial, Values]:
        """What Optuna would try; of suggestions that break a constraint it is told so, and asked again.

        A sampler that does not learn from that is helped out by a uniform draw.
        """
        given = self._given(number)
        for tried in range(TRIES):
            point = self._uniform(given or {}) if tried >= OWN_TRIES else given
            if point is not None:
                self._study.enqueue_trial(draws(self._spec.space, point))
            trial = self._study.ask()
            values = suggest(self._spec.space, trial)
            if not any(broken_by(constraint, self._known | values) for constraint in self._constraints):
                return trial, values
            trial.set_constraint("of the sweep", 1.0)
            self._study.tell(trial, state=samplers.pruned())
            if given is not None and set(given) >= set(values):
                raise RunFailed(f"the point {values} breaks a constraint", reason="user_error")
        raise RunFailed(
            f"{TRIES} suggestions in a row broke a constraint ({'; '.join(self._spec.constraints)}); "
            "widen constraints, or narrow the space",
            reason="user_error",
        )

    def _uniform(self, given: Mapping[str, Any]) -> Values:
        """A point drawn uniformly, in the space's own measure, but for the keys that are given."""
        self._draws.enqueue_trial(draws(self._spec.space, given))
        return suggest(self._spec.space, self._draws.ask())

    def _given(self, number: int) -> Mapping[str, Any] | None:
        if self._points is not None:
            return self._points[number]
        return self._spec.search.first[number] if number < len(self._spec.search.first) else None

    def _judge(self, number: int, step: int, objectives: Sequence[float | None]) -> bool:
        """Whether a trial goes on after a report."""
        if len(self._spec.objectives) > 1 or self._spec.early_stopping == "none" or number in self._again:
            return True
        trial, value = self._optuna[number], objectives[0]
        trial.report(math.nan if value is None else value, step)
        return not trial.should_prune()

    def _tell(self, entry: Mapping[str, Any]) -> None:
        if entry["trial"] in self._again:
            self._teach(self.trials[entry["trial"]])
            return
        outcome, objectives = Outcome(entry["outcome"]), entry["objectives"]
        whole = objectives is not None and all(value is not None and math.isfinite(value) for value in objectives)
        trial = self._optuna[entry["trial"]]
        if outcome is Outcome.SUCCEEDED and whole:
            for name, violation in violations(self._spec.require, entry["metrics"]).items():
                trial.set_constraint(name, violation)
            self._study.tell(trial, list(objectives))
        elif outcome is Outcome.PRUNED and whole:
            self._study.tell(trial, state=samplers.pruned())
        else:
            self._study.tell(trial, state=samplers.failed())

    def _teach(self, trial: Trial) -> None:
        """Let the sampler know of a trial of another sweep; of one that was stopped early, how it stood then."""
        if trial.outcome in (Outcome.SUCCEEDED, Outcome.PRUNED) and trial.objectives is not None:
            if all(map(math.isfinite, trial.objectives)):
                self._study.add_trial(samplers.known_trial(self._spec.space, trial, require=self._spec.require))


def grid(spec: SweepSpec, known: Mapping[str, Any]) -> Iterator[Values]:
    """The points of a grid that satisfy the constraints.

    Args:
        known: of the train spec, the keys that constraints may name, with their values.
    """
    constraints = [Constraint(text) for text in spec.constraints]
    for values in product(spec.space, spec.search.points):
        if not any(broken_by(constraint, {**known, **values}) for constraint in constraints):
            yield values


def to_go_on_with(trials: Sequence[Trial], again: Collection[int]) -> list[Trial]:
    """The trials that are named, of those that have ended without success."""
    done = (Outcome.OPEN, Outcome.SUCCEEDED)
    return [trial for trial in trials if trial.number in again and trial.outcome not in done]


def _reported(number: int, step: int, objectives: Sequence[float]) -> dict[str, Any]:
    return {"entry": "reported", "trial": number, "step": step, "objectives": list(objectives)}


def _ended(
    number: int,
    outcome: Outcome,
    *,
    objectives: Sequence[float] | None,
    metrics: Mapping[str, float] | None = None,
    message: str,
) -> dict[str, Any]:
    return {
        "entry": "ended",
        "trial": number,
        "outcome": outcome.value,
        "objectives": None if objectives is None else list(objectives),
        "metrics": dict(metrics or {}),
        "message": message,
    }
