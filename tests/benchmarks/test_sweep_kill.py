"""How a sweep that was killed is compared with one that nobody touched, and that what differs is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sweep_kill
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_jobs.sweep.trials import LABEL, Outcome, Trial


def trial(number: int = 0, loss: float = 0.5, outcome: Outcome = Outcome.SUCCEEDED) -> Trial:
    return Trial(number=number, values={"lr": 0.1}, outcome=outcome, reports={1: [loss]}, objectives=[loss])


def test_equal_trials_do_not_differ() -> None:
    assert sweep_kill.differences([trial(), trial(1)], [trial(), trial(1)]) == []


def test_every_difference_is_found() -> None:
    assert sweep_kill.differences([trial()], []) == ["1 trials and 0"]
    other = trial(loss=0.5 + 1e-16 * 2, outcome=Outcome.PRUNED)
    found = sweep_kill.differences([trial()], [other])
    assert [line.split(": ")[1] for line in found] == ["outcome", "reports", "objectives"]


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sweep_kill.Sweep:
    """Two trials of three: one with two runs that has ended twice, one that failed."""
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    sweep = sweep_kill.Sweep(tmp_path / "sweep.yaml")
    sweep.id = "sweep"
    ledger: Ledger = sweep.ledger
    ledger.create_run(id="sweep", name="s", kind="sweep", spec="")
    journal = Journal(ledger, ledger.get("sweep"))
    for number in range(2):
        journal.append({"entry": "asked", "trial": number, "values": {}})
    for number, outcome in ((0, "succeeded"), (0, "succeeded"), (1, "failed")):
        told = {"outcome": outcome, "objectives": [0.5], "metrics": {}, "message": ""}
        journal.append({"entry": "ended", "trial": number, **told})
    for run_id, number in (("a", 0), ("b", 0), ("c", 1)):
        ledger.create_run(id=run_id, name="t", kind="train", spec="", labels={LABEL: str(number)}, parent="sweep")
    return sweep


def test_lost_repeated_and_failed_trials_are_counted(swept: sweep_kill.Sweep) -> None:
    assert sweep_kill.whole_and_once(swept, 3) == {"lost": 2, "repeated": 2, "failed": 1}
