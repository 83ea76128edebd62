"""A person's part in a rollout: how it stands, and to pause, resume or cancel it, by the journal of the deployment."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Any, Literal

from forgeline.errors import UsageError
from forgeline.ledger.journal import Journal, Overtaken
from forgeline_deploy.control.conduct import comparison_of
from forgeline_deploy.control.desk import traffic_of
from forgeline_deploy.control.plan import as_entries, plan_of

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord

Wish = Literal["pause", "resume", "cancel"]


def traffic_now(ledger: Ledger, run: RunRecord) -> dict[str, Any]:
    """Who answers which share, and how the last rollout stands."""
    plan = plan_of(ledger.journal(run.id))
    if plan is None:
        return {"traffic": [], "rollout": None}
    return {"traffic": [] if run.is_final else traffic_of(plan), "rollout": comparison_of(plan.rollout)}


def steer(ledger: Ledger, run: RunRecord, wish: Wish, *, why: str) -> None:
    """Pause, resume or cancel the rollout of a deployment.

    Raises:
        UsageError: it has none that goes on.
    """
    if run.is_final:
        raise UsageError(f"deployment {run.name} is over ({run.state}); nothing to {wish}")
    journal = Journal(ledger, run)
    while True:
        plan = plan_of(journal.entries)
        if plan is None or plan.rollout is None:
            raise UsageError(f"deployment {run.name} has no rollout; nothing to {wish}")
        events = getattr(plan.rollout, wish)(by=getpass.getuser(), why=why, now=time.time())
        if not events:
            return
        try:
            journal.append(*as_entries(events))
            return
        except Overtaken:
            journal.refresh()
