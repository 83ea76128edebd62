"""A sweep written into a ledger as its driver writes it, by study and journal, without training anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger, open_ledger
from forgeline.ledger.records import RunRecord
from forgeline.spec.loading import load
from forgeline_jobs.sweep.live import maximised
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.trials import LABEL, Outcome, Trial

TRAIN = {
    "kind": "train",
    "architecture": {"name": "mlp", "hidden": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"epochs": 3},
}
SPACE = {
    "optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
    "architecture.dropout": {"uniform": [0, 0.5]},
    "optimizer.name": {
        "choice": {"adamw": {"optimizer.weight_decay": {"log_uniform": [1e-5, 1e-1]}}, "sgd": {}},
    },
}


class WrittenSweep:
    """A sweep under way, whose trials are written one by one.

    Args:
        name: of the sweep.
        given: keys of its spec, over those of a small one.
    """

    def __init__(self, name: str = "wine-sweep", **given: Any) -> None:
        fields: dict[str, Any] = {
            "kind": "sweep",
            "name": name,
            "train": TRAIN,
            "space": SPACE,
            "search": {"trials": 20, "algorithm": "random", "seed": 1},
            "objective": {"metric": "val/loss"},
        }
        loaded = load(fields | given)
        self.spec = cast(SweepSpec, loaded.spec)
        self.ledger: Ledger = open_ledger()
        self.id = f"{name}-0123456789"
        self.ledger.create_run(id=self.id, name=name, kind="sweep", spec=loaded.text)
        self.move(self.id, "starting", "running")
        self.study = Study(self.spec, Journal(self.ledger, self.record), maximise=maximised(self.spec))

    @property
    def record(self) -> RunRecord:
        return self.ledger.get(self.id)

    def move(self, run: str, *states: str) -> None:
        for state in states:
            self.ledger.transition(run, state, "cancelled" if state == "cancelled" else None)

    def begin(self) -> Trial:
        """A trial with a run that works."""
        trial = self.study.ask()
        assert trial is not None
        run = self.run_of(trial)
        labels = {LABEL: str(trial.number)}
        self.ledger.create_run(id=run, name=run, kind="train", spec="kind: train", labels=labels, parent=self.id)
        self.move(run, "starting", "running")
        self.ledger.start_attempt(run, "first")
        return trial

    def run_of(self, trial: Trial) -> str:
        return f"trial-{trial.number}-of-{self.id}"

    def end(self, trial: Trial, outcome: Outcome = Outcome.SUCCEEDED, message: str = "") -> None:
        measured = worth(trial.values, len(self.spec.objectives))
        self.study.report(trial.number, 1, measured)
        whole = outcome is Outcome.SUCCEEDED
        self.study.end(trial.number, outcome, objectives=measured if whole else None, message=message)
        self.move(self.run_of(trial), "succeeded" if whole else "failed")

    def work(self, trials: int) -> WrittenSweep:
        """So many trials, every fifth of them stopped early."""
        for at in range(trials):
            self.end(self.begin(), Outcome.PRUNED if at % 5 == 4 else Outcome.SUCCEEDED)
        return self


def worth(values: Mapping[str, Any], objectives: int) -> Sequence[float]:
    """The learning rate says almost all of the first objective, the dropout the rest, and they pull apart."""
    far = (math.log10(values["optimizer.lr"]) + 2) ** 2
    first = far + 0.01 * values["architecture.dropout"]
    return [first, *[1.0 - values["architecture.dropout"] + 0.001 * far] * (objectives - 1)]
