"""Beginning a training run outside the deployment, once, and looking after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from forgeline.errors import ForgelineError
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord

LAUNCH_S = 900.0
"""How long a launch may take; it checks the data first."""


class LaunchRefused(ForgelineError):
    """It cannot begin as it is, now or later."""


class Launcher(Protocol):
    """What begins runs."""

    def begun(self, once: str) -> RunRecord | None:
        """The run of this name, of which there is one at most."""

    def get(self, run_id: str) -> RunRecord:
        """A run that was begun."""

    def launch(self, spec: Path, once: str) -> str:
        """Begin it, or find that it has begun; returns its id.

        Raises:
            LaunchRefused: the specification or the data are wrong.
            ForgelineError: it did not work now, and may later.
        """


class CommandLauncher:
    """Begins runs by `forgeline run --detach`: they neither share a process with the deployment nor die with it.

    Args:
        ledger: where runs are found.
        cluster: address of the cluster to run on; local Ray without it.
    """

    def __init__(self, ledger: Ledger, cluster: str | None = None) -> None:
        self._ledger = ledger
        self._cluster = cluster

    def begun(self, once: str) -> RunRecord | None:
        return self._ledger.begun_once(once)

    def get(self, run_id: str) -> RunRecord:
        return self._ledger.get(run_id)

    def launch(self, spec: Path, once: str) -> str:
        where = [] if self._cluster is None else ["--cluster", self._cluster]
        command = [sys.executable, "-m", "forgeline.cli.app", "run", str(spec), "--detach", *where]
        try:
            done = subprocess.run(
                command,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LAUNCH_S,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            done = None
        # Whatever the command says: the run may have begun, through it or through another that raced it.
        if (known := self.begun(once)) is not None:
            return known.id
        if done is None:
            raise ForgelineError(f"the training did not begin within {LAUNCH_S:g} s")
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        if done.returncode == 2:
            raise LaunchRefused(said)
        raise ForgelineError(f"the training did not begin (exit code {done.returncode}): {said}")


def _environment() -> dict[str, str]:
    """Ours without what Ray tells its workers: the run has a Ray of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
