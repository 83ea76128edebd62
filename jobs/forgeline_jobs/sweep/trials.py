"""The trials of a sweep as its journal tells them, entry by entry.

| entry | fields |
|---|---|
| `taught` | `trials` of an earlier sweep, as `told` writes them |
| `asked` | `trial`, `values` |
| `reported` | `trial`, `step`, `objectives` |
| `ended` | `trial`, `outcome`, `objectives`, `metrics`, `message` |
| `again` | `trial`: it is gone on with, to its end |
| `dropped` | `trial`, `step`: it went on as it was after all, since its source had no checkpoint |
| `generation` | `step`, `copies`: each with the `trial` that goes on as a copy of its `source`, with other `values` |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from forgeline_jobs.sweep.requirements import meets
from forgeline_jobs.sweep.spec import SweepSpec

LABEL = "sweep-trial"
"""Label of a trial's run: its number."""


RETRAINED = "sweep-retrained"
"""Label of the run that trains the best trial once more: the number of that trial."""


class Outcome(StrEnum):
    """How a trial stands."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    FAILED = "failed"
    STOPPED = "stopped"  # by a person


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What becomes of a trial of a population at the end of an interval.

    Attributes:
        trial: that goes on with the weights of another.
        source: that other one.
        values: that it goes on with.
        step: at which.
    """

    trial: int
    source: int
    values: Mapping[str, Any]
    step: int


@dataclass(kw_only=True)
class Trial:
    """One point of the space, and what came of it.

    Attributes:
        number: counted from 0.
        values: of the space's keys; in a population, those that it has now.
        begun: those that it began with.
        copies: each time that it went on as a copy of another one.
        reports: by step (epochs, or optimizer steps where `stop.grace` counts those), the objectives measured there.
        objectives: those that count: of the chosen model, or where it was stopped.
        metrics: all of the chosen model.
        step: up to which it was measured.
        message: why it failed.
    """

    number: int
    values: Mapping[str, Any]
    begun: Mapping[str, Any] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    outcome: Outcome = Outcome.OPEN
    reports: dict[int, Sequence[float]] = field(default_factory=dict)
    objectives: Sequence[float] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""

    @property
    def step(self) -> int:
        return max(self.reports, default=0)


def read(entries: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """The trials that a journal tells of, by number."""
    trials: list[Trial] = []
    for entry in entries:
        take(trials, entry)
    return trials


def take(trials: list[Trial], entry: Mapping[str, Any]) -> None:
    """Take one more entry in."""
    kind = entry["entry"]
    if kind == "asked":
        trials.append(Trial(number=entry["trial"], values=entry["values"], begun=entry["values"]))
    elif kind == "reported":
        trials[entry["trial"]].reports[entry["step"]] = _numbers(entry["objectives"])
    elif kind == "generation":
        for copy in copies_of(entry):
            trials[copy.trial].values = copy.values
            trials[copy.trial].copies.append(copy)
    elif kind == "dropped":
        trial = trials[entry["trial"]]
        trial.copies = [copy for copy in trial.copies if copy.step != entry["step"]]
        trial.values = trial.copies[-1].values if trial.copies else trial.begun
    elif kind == "again":
        trial = trials[entry["trial"]]
        trial.outcome, trial.objectives, trial.metrics, trial.message = Outcome.OPEN, None, {}, ""
    elif kind == "ended":
        trial = trials[entry["trial"]]
        trial.outcome = Outcome(entry["outcome"])
        trial.objectives = None if entry["objectives"] is None else _numbers(entry["objectives"])
        trial.metrics, trial.message = entry["metrics"], entry["message"]


def copies_of(entry: Mapping[str, Any]) -> list[Copy]:
    """The copies that a `generation` tells of."""
    return [Copy(**copy, step=entry["step"]) for copy in entry["copies"]]


Course = Sequence[tuple[int, Mapping[str, Any]]]
"""What weights were trained with: from which step on, which values."""


def course(trials: Sequence[Trial], number: int) -> Course:
    """That of a trial of a population, through the trials that it was a copy of."""
    trial, before, found = trials[number], float("inf"), list[tuple[int, Mapping[str, Any]]]()
    while copy := next((copy for copy in reversed(trial.copies) if copy.step < before), None):
        found.insert(0, (copy.step, copy.values))
        trial, before = trials[copy.source], copy.step
    return [(0, trial.begun), *found]


def best(trials: Sequence[Trial], spec: SweepSpec, *, maximise: Sequence[bool]) -> list[Trial]:
    """The succeeded trials that none is better than, of those that meet what is required.

    Returns:
        One for a single objective, the Pareto front for several.
    """
    done = [
        trial
        for trial in trials
        if trial.outcome is Outcome.SUCCEEDED and trial.objectives is not None and meets(spec.require, trial.metrics)
    ]
    if not done:
        return []
    if len(spec.objectives) == 1:
        return [min(done, key=lambda trial: (_signed(trial, maximise)[0], trial.number))]
    costs = {trial.number: _signed(trial, maximise) for trial in done}
    return [trial for trial in done if not any(_dominates(costs[other.number], costs[trial.number]) for other in done)]


def ranked(trials: Sequence[Trial], *, maximise: Sequence[bool]) -> list[Trial]:
    """By the first objective, best first; of trials under way the last report counts, those without one come last."""

    def key(trial: Trial) -> tuple[bool, float, int]:
        now = trial.objectives if trial.objectives is not None else trial.reports.get(trial.step)
        return now is None, _cost(now[0], maximise[0]) if now is not None else 0.0, trial.number

    return sorted(trials, key=key)


def _signed(trial: Trial, maximise: Sequence[bool]) -> tuple[float, ...]:
    assert trial.objectives is not None
    return tuple(_cost(value, up) for value, up in zip(trial.objectives, maximise, strict=True))


def _cost(value: float, maximise: bool) -> float:
    """Less is better, and no number is worst."""
    return float("inf") if value != value else -value if maximise else value


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def told(trial: Trial) -> dict[str, Any]:
    """A trial that has ended, for the journal of a sweep that learns from it."""
    return {
        "values": dict(trial.values),
        "outcome": trial.outcome.value,
        "objectives": list(trial.objectives or ()),
        "metrics": dict(trial.metrics),
        "reports": [[step, list(objectives)] for step, objectives in trial.reports.items()],
    }


def as_told(entry: Mapping[str, Any]) -> Trial:
    """The trial that `told` wrote."""
    return Trial(
        number=-1,
        values=entry["values"],
        outcome=Outcome(entry["outcome"]),
        objectives=_numbers(entry["objectives"]),
        metrics=entry.get("metrics", {}),  # which 0.2 did not write
        reports={step: _numbers(objectives) for step, objectives in entry["reports"]},
    )


def _numbers(values: Sequence[float | None]) -> list[float]:
    """The journal's JSON has no NaN and says null."""
    return [float("nan") if value is None else float(value) for value in values]
