"""What the driver does for the controller: replicas of the versions that are wanted come up, those of others go down.

The controller and the driver speak through the journal alone, so that neither needs the other to be there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, RunFailed
from forgeline.ledger.journal import Journal, Overtaken
from forgeline_deploy.control.plan import DOWN, FAILED, ROLLOUT, UP, Plan, Plans
from forgeline_deploy.control.samples import recent_samples
from forgeline_deploy.retraining.retraining import Retraining

if TYPE_CHECKING:
    from forgeline_deploy.deployment.pinning import Pinned
    from forgeline_deploy.serving.stack import Stack

_RETRAINING_EVERY_S = 5.0


def write(journal: Journal, *entries: Mapping[str, Any]) -> None:
    """Write entries that are true whatever others wrote meanwhile.

    Raises:
        Superseded: this process may not write any more.
        LedgerError: the database does not answer.
    """
    while True:
        try:
            journal.append(*entries)
            return
        except Overtaken:
            journal.refresh()


class Reconciler:
    """Brings versions up and down.

    Args:
        stack: what runs.
        journal: of the run.
        tell: takes what a person should know, a line each.
    """

    def __init__(self, stack: Stack, journal: Journal, tell: Callable[[str], None]) -> None:
        self._stack, self._journal, self._tell = stack, journal, tell
        self._thread = ThreadPoolExecutor(1, "versions")
        self._coming: tuple[str, Future[None]] | None = None
        self._failed: set[str] = set()
        self._told = len(journal.entries)
        self._plans = Plans(journal)

    def tick(self) -> None:
        """Do what the journal asks for; what takes long is done in a thread.

        Raises:
            LedgerError: the database does not answer.
        """
        if self._is_busy():
            return
        self._journal.refresh()
        self._tell_of_rollouts()
        plan = self._plans.now()
        if plan is None:
            return
        # What is said to be down may be up: whoever said so was hindered before it was done.
        self._stack.keep(plan.wanted.keys() | plan.up.keys())
        for version, pinned in plan.wanted.items():
            if version not in plan.up and version not in self._failed:
                self._coming = version, self._thread.submit(self._bring_up, pinned)
                return
        unwanted = plan.up.keys() - plan.wanted.keys()
        for version in unwanted - self._open_lanes(plan) if unwanted else ():
            # Said first: a version that is gone and said to be up would be given requests.
            write(self._journal, {"entry": DOWN, "version": version, "at": time.time()})
            self._tell(f"version {version} is taken down")

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _is_busy(self) -> bool:
        if self._coming is None:
            return False
        version, coming = self._coming
        if not coming.done():
            return True
        self._coming = None
        error = coming.exception()
        if isinstance(error, RunFailed):
            self._failed.add(version)
            write(self._journal, {"entry": FAILED, "version": version, "why": str(error), "at": time.time()})
            self._tell(f"version {version} does not come up: {error}")
        elif error is not None:
            # Serve's own controller is on its way back, say: the version can do nothing for that.
            self._tell(f"version {version} is brought up again: {type(error).__name__}: {error}")
        else:
            write(self._journal, {"entry": UP, "version": version, "at": time.time()})
            self._tell(f"version {version} is up")
        return False

    def _bring_up(self, pinned: Pinned) -> None:
        self._stack.deploy(pinned.served())

    def _tell_of_rollouts(self) -> None:
        entries = self._journal.since(self._told)
        self._told += len(entries)
        for entry in entries:
            if entry.get("entry") == ROLLOUT and entry.get("event") != "rollout_evidence":
                said = f": {entry['why']}" if entry.get("why") else f" with version {entry.get('challenger')}"
                self._tell(f"rollout {entry['rollout']} {str(entry['event']).removeprefix('rollout_')}{said}")

    def _open_lanes(self, plan: Plan) -> set[str]:
        try:
            return set(self._stack.ask_ingress("status")["lanes"])
        except ForgelineError:
            return set(plan.up)  # it is on its way back, and may still have them


class RetrainingThread:
    """Launches what is wanted and looks after it, in a thread of its own: to check the data takes a while.

    Args:
        retraining: of the deployment.
        journal: that it decides by.
        folder: of the run.
        tell: takes what a person should know, a line each.
    """

    def __init__(self, retraining: Retraining, journal: Journal, folder: Path, tell: Callable[[str], None]) -> None:
        self._retraining, self._journal, self._folder, self._tell = retraining, journal, folder, tell
        self._plans = Plans(journal)
        self._thread = ThreadPoolExecutor(1, "retraining")
        self._work: Future[None] | None = None
        self._next = 0.0
        self._told: tuple[Any, ...] | None = None

    def tick(self) -> None:
        """Go on, if it is time to."""
        if self._work is not None and not self._work.done():
            return
        if self._work is not None and (error := self._work.exception()) is not None:
            self._tell(f"retraining: {error}; tried again")
        self._work = None
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _RETRAINING_EVERY_S
            self._work = self._thread.submit(self._advance)

    def close(self) -> None:
        """Begin nothing more; what is under way is found again."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _advance(self) -> None:
        self._journal.refresh()
        plan = self._plans.now()
        if plan is None:
            return
        samples = _WhenAsked(self._journal, self._folder, Path(plan.champion.bundle))
        found = self._retraining.advance(samples, time.time())
        if found is None:
            return
        told = (found.number, found.stage, found.run, found.outcome)
        if told != self._told:
            run = f", run {found.run[:8]}" if found.run else ""
            outcome = f": {found.outcome}" if found.outcome else ""
            message = f"; {found.message}" if found.message else ""
            self._tell(f"retraining {found.number} is {found.stage}{outcome}{run}{message}")
        self._told = told


class _WhenAsked:
    """The labelled samples, read when a retraining is launched and not before: there may be very many."""

    def __init__(self, journal: Journal, folder: Path, bundle: Path) -> None:
        self._journal, self._folder, self._bundle = journal, folder, bundle

    def write(self, folder: Path, *, since: float, most: int) -> Path:
        samples = recent_samples(self._journal.entries, self._folder, self._bundle)
        return samples.write(folder, since=since, most=most)
