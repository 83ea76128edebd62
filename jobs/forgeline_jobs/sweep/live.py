"""How the trials of a sweep stand, for people: the rows of a table, and a line for each change of a trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from forgeline import metrics
from forgeline_jobs.sweep.space import all_keys
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Outcome, Trial, best, ranked

MOST_ROWS = 15
"""Ended trials in the live table; those under way come on top of them."""

TABLE_EVERY_S = 1.0
LINE_EVERY_S = 10.0


class Emit(Protocol):
    """Tells whoever follows the run something."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...


def maximised(spec: SweepSpec) -> list[bool]:
    """Of each objective, whether more is better, by its name alone: it means the same in every task.

    >>> from forgeline.spec.loading import load
    >>> searched = {"space": {"optimizer.lr": {"uniform": [0.1, 1]}}, "train": {"kind": "train"}}
    >>> maximised(load({"kind": "sweep", "name": "s", "objective": {"metric": "val/accuracy"}, **searched}).spec)
    [True]
    """
    found = []
    for objective in spec.objectives:
        name = objective.metric.partition("/")[2].partition("[")[0]
        known = [infos[name] for infos in metrics.METRICS.values() if name in infos]
        way = known[0].higher_is_better if known else False
        found.append(way if objective.mode is None else objective.mode == "max")
    return found


def keys_of(spec: SweepSpec) -> list[str]:
    """The keys of the space, each once, those that a choice brings included."""
    return list(dict.fromkeys(key for key, _ in all_keys(spec.space)))


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, where no other key has the same.

    >>> short_keys(["optimizer.lr", "architecture.name", "data.name"])
    {'optimizer.lr': 'lr', 'architecture.name': 'architecture.name', 'data.name': 'data.name'}
    """
    last = [key.rpartition(".")[2] for key in keys]
    return {key: part if last.count(part) == 1 else key for key, part in zip(keys, last, strict=True)}


def now_of(trial: Trial) -> Sequence[float] | None:
    """The objectives that count, or those measured last."""
    return trial.objectives if trial.objectives is not None else trial.reports.get(trial.step)


def columns(spec: SweepSpec) -> list[str]:
    """Headings of the table."""
    named = short_keys(keys_of(spec))
    unit = "epoch" if spec.unit == "ep" else "step"
    return ["trial", *named.values(), *(objective.metric for objective in spec.objectives), unit, "state"]


def row(trial: Trial, spec: SweepSpec, *, state: str | None = None) -> list[Any]:
    """One trial under the headings.

    Args:
        state: of one that is under way, where it is known.
    """
    now = now_of(trial)
    count = len(spec.objectives)
    objectives = [None] * count if now is None else [value if math.isfinite(value) else str(value) for value in now]
    values = [trial.values.get(key) for key in keys_of(spec)]
    return [trial.number, *values, *objectives, trial.step or None, state or state_of(trial)]


def state_of(trial: Trial) -> str:
    """How a trial stands, in a word."""
    return "under way" if trial.outcome is Outcome.OPEN else str(trial.outcome)


class Telling:
    """Tells what becomes of trials: each change as an event `trial`, and all of them as an event `table`.

    Args:
        emit: takes the events.
        spec: of the sweep.
        trials: all of them, by number; looked at whenever a table is told.
        clock: seconds.
    """

    def __init__(
        self,
        emit: Emit,
        spec: SweepSpec,
        trials: Sequence[Trial],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._spec = spec
        self._trials = trials
        self._maximise = maximised(spec)
        self._clock = clock
        self._states: dict[int, str] = {}
        self._changed = False
        self._table_at = -math.inf
        self._line_at = -math.inf

    def changed(self, trial: Trial, state: str) -> None:
        """A trial is `starting` or `running`, was measured, or has ended; the table comes before the line."""
        self._states[trial.number] = state
        new = trial.outcome is not Outcome.OPEN or state == "starting"
        self._changed = True
        self.tick()
        now, objectives = now_of(trial), self._spec.objectives
        self._emit(
            "trial",
            number=trial.number,
            trials=self._spec.search.trials,
            state=state,
            step=trial.step,
            unit=self._spec.unit,
            values=dict(trial.values),
            objectives=None if now is None else list(now),
            metric=[objective.metric for objective in objectives],
            message=trial.message,
            text=self._line(trial, state) if new or self._clock() >= self._line_at else None,
        )

    def tick(self) -> None:
        """Tell the table where something has changed and it was not told a moment ago."""
        if self._changed and self._clock() >= self._table_at:
            self._tell_table()

    def close(self) -> None:
        """Tell what has changed since the last table."""
        if self._changed:
            self._tell_table()

    def _tell_table(self) -> None:
        self._changed = False
        self._table_at = self._clock() + TABLE_EVERY_S
        shown, count = self._rows(), len(self._trials)
        ended = sum(trial.outcome is not Outcome.OPEN for trial in self._trials)
        self._emit(
            "table",
            title=f"{ended} of {self._spec.search.trials} trials have ended"
            + (f"; {len(shown)} of {count} are shown" if len(shown) < count else ""),
            columns=columns(self._spec),
            rows=[row(trial, self._spec, state=self._state(trial)) for trial in shown],
        )

    def _rows(self) -> list[Trial]:
        """The best, and those under way."""
        order = ranked(self._trials, maximise=self._maximise)
        ended = [trial.number for trial in order if trial.outcome is not Outcome.OPEN]
        out = set(ended[MOST_ROWS:])
        return [trial for trial in order if trial.number not in out]

    def _state(self, trial: Trial) -> str | None:
        return self._states.get(trial.number) if trial.outcome is Outcome.OPEN else None

    def _line(self, trial: Trial, state: str) -> str:
        self._line_at = self._clock() + LINE_EVERY_S
        at = f"trial {trial.number} of {self._spec.search.trials}: {state}"
        if state == "starting":
            return f"{at}, {in_words(trial.values)}"
        parts = [at + (f" at {trial.step} {self._spec.unit}" if trial.step else "")]
        now = now_of(trial)
        if now is not None:
            parts.append(measured_in_words(now, self._spec))
        if trial.outcome is Outcome.FAILED and trial.message:
            parts.append(trial.message)
        found = best(self._trials, self._spec, maximise=self._maximise)
        if trial.outcome is Outcome.SUCCEEDED and any(one.number == trial.number for one in found):
            parts.append("the best so far" if len(self._maximise) == 1 else "on the Pareto front so far")
        return ", ".join(parts)


def in_words(values: Mapping[str, Any]) -> str:
    """Values of a point on one line.

    >>> in_words({"optimizer.lr": 0.0123456789, "architecture.name": "lenet"})
    'optimizer.lr 0.012346, architecture.name lenet'
    """
    return ", ".join(f"{key} {number(value)}" for key, value in values.items())


def measured_in_words(objectives: Sequence[float], spec: SweepSpec) -> str:
    """Objectives with their names."""
    named = zip(spec.objectives, objectives, strict=True)
    return ", ".join(f"{objective.metric} {number(value)}" for objective, value in named)


def number(value: Any) -> str:
    """A value as people read it, numbers with five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
