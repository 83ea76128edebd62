"""When an alert that stands asks for a retraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forgeline_deploy.control.samples import recent_samples
from forgeline_deploy.retraining.retraining import Retraining, Wish

if TYPE_CHECKING:
    from forgeline.ledger.journal import Journal
    from forgeline_deploy.alerts.book import Standing
    from forgeline_deploy.control.plan import Plan
    from forgeline_deploy.retraining.launcher import Launcher
    from forgeline_deploy.retraining.spec import RetrainConfig

RETRAININGS = "retraining"
"""Folder in the run's folder with what each retraining was given."""

_EVERY_S = 10.0
HARM, DRIFT = "performance", "drift"
"""Kinds of alerts that a training can help: errors and latency are no matter of what the model has learnt."""


class Wishes:
    """Wants retrainings; the driver is who launches them.

    Args:
        config: `monitor.retrain` of the deployment.
        run_id: of the deployment.
        model: registered name.
        journal: of the run.
        folder: of the run.
        launcher: is asked for nothing here.
        tell: takes what a person should know, a line each.
    """

    def __init__(
        self,
        config: RetrainConfig,
        *,
        run_id: str,
        model: str,
        journal: Journal,
        folder: Path,
        launcher: Launcher,
        tell: Callable[[str], None],
    ) -> None:
        self._config, self._journal, self._folder, self._tell = config, journal, folder, tell
        self._retraining = Retraining(
            config, journal, launcher, run_id=run_id, model=model, folder=folder / RETRAININGS
        )
        self._looked = float("-inf")
        self._told: str | None = None

    def tick(self, alerts: Sequence[Standing], plan: Plan, now: float) -> None:
        """Want one where an alert stands that asks for it, unless a rollout goes on already.

        Raises:
            LedgerError: the database does not answer.
        """
        if now < self._looked + _EVERY_S:
            return
        self._looked = now
        of_champion = [one for one in alerts if one.alert.figures.get("version") == plan.champion.version]
        harm = [one for one in of_champion if one.alert.kind == HARM]
        standing = harm or [one for one in of_champion if one.alert.kind == DRIFT]
        if not standing or plan.challenger is not None:
            return
        why: Literal["harm", "drift"] = "harm" if harm else "drift"
        wish = Wish(why=why, summary=standing[0].alert.summary, labelled=self._config.data.least)
        # Samples are counted last: to read them takes a while.
        hindrance = self._retraining.hindrance(wish, now)
        if hindrance is None:
            hindrance = self._retraining.want(replace(wish, labelled=self._labelled(plan, now)), now)
        told = hindrance if hindrance is not None else f"wanted, because of {why}: {wish.summary}"
        if told != self._told:
            self._tell(f"retraining: {told}")
        self._told = told

    def _labelled(self, plan: Plan, now: float) -> int:
        samples = recent_samples(self._journal.entries, self._folder, Path(plan.champion.bundle))
        return len(samples.all(since=now - self._config.data.since.total_seconds()))
