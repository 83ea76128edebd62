"""What a sweep has spent, over all its executions, against what it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from forgeline.ledger.ledger import Ledger
from forgeline.ledger.states import FINAL
from forgeline_jobs.sweep.spec import BudgetConfig
from forgeline_jobs.sweep.trials import Outcome, Trial

LOOK_EVERY_S = 1.0


class Budget:
    """Asked again and again while trials run.

    Args:
        config: what may be spent.
        ledger: knows how long the runs worked.
        run_id: of the sweep.
        price: money for a GPU-second, where prices are set.
        clock: seconds.
    """

    def __init__(
        self,
        config: BudgetConfig,
        ledger: Ledger,
        run_id: str,
        *,
        price: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._run_id = run_id
        self._price = price
        self._clock = clock
        self._look_at = -LOOK_EVERY_S
        self._settled: dict[str, float] = {}

    def spent(self, trials: Sequence[Trial]) -> str | None:
        """The part of the budget that is spent, in words; None while there is some left of each."""
        config = self._config
        failed = sum(trial.outcome is Outcome.FAILED for trial in trials)
        if config.failed_trials is not None and failed > config.failed_trials:
            return f"budget.failed_trials {config.failed_trials} is spent: {failed} trials failed"
        if self._clock() < self._look_at:
            return None
        self._look_at = self._clock() + LOOK_EVERY_S
        wall = self._ledger.took_s(self._run_id) or 0.0
        if config.wall is not None and wall >= config.wall.total_seconds():
            return f"budget.wall {config.wall} is spent"
        if config.gpu_seconds is None and config.money is None:
            return None
        used = self.gpu_seconds()
        if config.gpu_seconds is not None and used >= config.gpu_seconds:
            return f"budget.gpu_seconds {config.gpu_seconds:g} is spent: {used:.0f}"
        if config.money is not None and self._price is not None and used * self._price >= config.money:
            return f"budget.money {config.money:g} is spent: {used * self._price:.2f}"
        return None

    def gpu_seconds(self) -> float:
        """GPU-seconds of all trials so far; of those that have ended the ledger is asked once."""
        total = 0.0
        for run in self._ledger.list_runs(parent=self._run_id):
            used = self._settled.get(run.id)
            if used is None:
                attempts = self._ledger.attempts(run.id)
                used = sum(attempt.duration_s * (attempt.gpus or 0.0) for attempt in attempts)
                if run.state in FINAL and run.state == "succeeded":
                    self._settled[run.id] = used
            total += used
        return total
