"""How a sweep stands, read from the ledger and from nothing else; it is the same while it runs and afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import NotFound
from forgeline.ledger.states import Reason
from forgeline.suggestions import did_you_mean
from forgeline_jobs.sweep.live import keys_of, maximised, now_of
from forgeline_jobs.sweep.requirements import meets
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import LABEL, Outcome, Trial, best, ranked, read

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord

PAGE = "sweep.html"
"""The report, in the folder of artifacts."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep and its trials.

    Attributes:
        record: of the sweep's run.
        spec: of the sweep.
        trials: all of them, by number.
        runs: of the trials that have one, by number.
        seconds: that these worked, by number.
        took_s: seconds that the sweep worked.
        maximise: of each objective, whether more is better.
    """

    record: RunRecord
    spec: SweepSpec
    trials: Sequence[Trial]
    runs: Mapping[int, RunRecord]
    seconds: Mapping[int, float]
    took_s: float | None
    maximise: Sequence[bool]

    @property
    def front(self) -> list[Trial]:
        """The best trial; of several objectives the Pareto front, by the first of them."""
        return ranked(best(self.trials, self.spec, maximise=self.maximise), maximise=self.maximise)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by how they stand."""
        return {str(outcome): sum(trial.outcome is outcome for trial in self.trials) for outcome in Outcome}

    @property
    def metrics(self) -> list[str]:
        """Names of the objectives."""
        return [objective.metric for objective in self.spec.objectives]

    def state(self, trial: Trial) -> str:
        """How a trial stands, in a word: of one that has not ended, how its run does."""
        if trial.outcome is not Outcome.OPEN:
            return str(trial.outcome)
        run = self.runs.get(trial.number)
        if run is None:
            return "waiting"
        if run.reason is Reason.PAUSED:
            return "waiting"
        return "interrupted" if run.is_final else str(run.state)

    def _meets(self, trial: Trial) -> dict[str, bool | None]:
        """Whether a trial keeps what is required, where something is."""
        if not self.spec.require:
            return {}
        return {"meets": meets(self.spec.require, trial.metrics) if trial.outcome is Outcome.SUCCEEDED else None}

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a trial, best first, all with the same keys."""
        front = {trial.number for trial in self.front}
        found = []
        for trial in ranked(self.trials, maximise=self.maximise):
            now: Sequence[float | None] = now_of(trial) or [None] * len(self.metrics)
            run = self.runs.get(trial.number)
            found.append(
                {
                    "trial": trial.number,
                    "state": self.state(trial),
                    "best": trial.number in front,
                    **self._meets(trial),
                    **{key: trial.values.get(key) for key in keys_of(self.spec)},
                    **dict(zip(self.metrics, map(_json, now), strict=True)),
                    "step": trial.step or None,
                    "run": None if run is None else run.id,
                    "seconds": self.seconds.get(trial.number),
                    "message": trial.message or None,
                }
            )
        return found


def standing(ledger: Ledger, record: RunRecord, *, with_runs: bool = True) -> Standing:
    """A sweep as the ledger has it now.

    Args:
        record: of the sweep's run.
        with_runs: whether the trials' runs are wanted, for which the ledger is asked once for each.
    """
    from forgeline.spec.loading import load

    spec = cast(SweepSpec, load(record.spec, stored=True).spec)
    parts = ledger.list_runs(parent=record.id) if with_runs else []
    runs = {int(run.labels[LABEL]): run for run in parts if LABEL in run.labels}
    took = {number: ledger.took_s(run.id) for number, run in runs.items()}
    return Standing(
        record=record,
        spec=spec,
        trials=read(ledger.journal(record.id)),
        runs=runs,
        seconds={number: seconds for number, seconds in took.items() if seconds is not None},
        took_s=ledger.took_s(record.id),
        maximise=maximised(spec),
    )


def find(ledger: Ledger, reference: str) -> RunRecord:
    """The run of a sweep.

    Args:
        reference: its name (the newest sweep of that name), its id, or the start of its id.

    Raises:
        NotFound: no such sweep; the message has the nearest one.
    """
    if named := ledger.list_runs(kind="sweep", name=reference, limit=1):
        return named[0]
    known = names(ledger)
    try:
        record = ledger.get(reference)
    except NotFound:
        raise NotFound(f"no sweep {reference!r}; {did_you_mean(reference, known)}") from None
    if record.kind != "sweep":
        part = f" of sweep {ledger.get(record.parent).name}" if record.parent is not None else ""
        raise NotFound(f"run {reference!r} is of kind {record.kind}{part}; {did_you_mean(reference, known)}")
    return record


def names(ledger: Ledger, *, limit: int = 500) -> list[str]:
    """Names of sweeps, newest first."""
    return _once(run.name for run in ledger.list_runs(kind="sweep", limit=limit, elsewhere=False))


def best_title(found: Standing) -> str:
    """What the best trial is called."""
    if len(found.metrics) == 1:
        return "best trial"
    count = len(found.front)
    return "Pareto front: one trial" if count == 1 else f"Pareto front: {count} trials; the first of them"


def search_in_words(spec: SweepSpec) -> str:
    """How points are chosen, and trials judged."""
    search, stop = spec.search, spec.early_stopping
    if spec.is_population:
        return f"{search.algorithm}, the worst {search.quantile:.0%} copy the best every {search.interval}"
    return search.algorithm + (f", {stop} stops early" if stop != "none" else "")


def train_again(found: Standing) -> list[str]:
    """The commands that train the best trial once more."""
    return [f"forgeline sweeps best {found.record.name} > best.yaml", "forgeline run best.yaml"]


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))


def _json(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity."""
    return value if value is None or math.isfinite(value) else str(value)
