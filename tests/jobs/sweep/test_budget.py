"""A budget: what is counted, over all executions and trials, and what is said when it is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline.ledger.ledger import Ledger
from forgeline_jobs.sweep.budget import Budget
from forgeline_jobs.sweep.spec import BudgetConfig
from forgeline_jobs.sweep.trials import Outcome, Trial


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A sweep that works, with a trial of two GPUs that has ended and one that goes on."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.create_run(id="sweep", name="s", kind="sweep", spec="")
    ledger.start_attempt("sweep", "first")
    for number in range(2):
        ledger.create_run(id=f"trial{number}", name="t", kind="train", spec="", parent="sweep")
        ledger.start_attempt(f"trial{number}", "first")
        ledger.describe_attempt(f"trial{number}", 1, gpus=2.0)
    ledger.transition("trial0", "starting")
    ledger.transition("trial0", "running")
    ledger.transition("trial0", "succeeded")
    return ledger


def failed(count: int) -> list[Trial]:
    return [Trial(number=number, values={}, outcome=Outcome.FAILED) for number in range(count)]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"wall": "1s"}, None),
        ({"wall": 0.001}, "budget.wall "),
        ({"gpu_seconds": 1e-9}, "budget.gpu_seconds 1e-09 is spent: 0"),
        ({"gpu_seconds": 1e6}, None),
        ({"money": 1e-9}, "budget.money 1e-09 is spent: "),
        ({"money": 1e6}, None),
        ({"failed_trials": 1}, "budget.failed_trials 1 is spent: 2 trials failed"),
        ({"failed_trials": 2}, None),
        ({}, None),
    ],
)
def test_what_is_spent_is_told(ledger: Ledger, config: dict[str, Any], said: str | None) -> None:
    spent = Budget(BudgetConfig.model_validate(config), ledger, "sweep", price=3.0).spent(failed(2))
    assert (spent or "").startswith(said) if said else spent is None


def test_gpu_seconds_are_those_of_all_trials(ledger: Ledger) -> None:
    budget = Budget(BudgetConfig(), ledger, "sweep")
    first = budget.gpu_seconds()
    seconds = [attempt.duration_s for number in range(2) for attempt in ledger.attempts(f"trial{number}")]
    assert 0 < first <= 2 * sum(seconds)
    assert budget.gpu_seconds() > first, "the one that goes on counts on"


def test_the_ledger_is_asked_once_a_second(ledger: Ledger) -> None:
    now = [0.0]
    budget = Budget(BudgetConfig.model_validate({"wall": 0.001}), ledger, "sweep", clock=lambda: now[0])
    assert budget.spent([]) is not None
    now[0] = 0.5
    assert budget.spent([]) is None
    now[0] = 1.1
    assert budget.spent([]) is not None
