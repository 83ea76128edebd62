"""Drivers on this host: started early, given their work later, outliving the terminal that asked for them.

The driver process is started before the data are checked and imports Ray and MLflow meanwhile; Ray itself starts,
and anything is written, only when the request arrives on its standard input. Without one it just ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from forgeline.launching.events import EXIT_CODES, Event, EventReader, is_last
from forgeline.launching.follow import follow
from forgeline.launching.request import EVENTS, LOG, Request

if TYPE_CHECKING:
    from forgeline.settings import Settings

_LEAVING_S = 15.0
MODULE = "forgeline.launching.driver"


class LocalDriver:
    """A driver process of its own session, so that Ctrl-C in the terminal does not reach it by itself."""

    def __init__(self) -> None:
        self._early_output: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "--request", "-"],
            stdin=subprocess.PIPE,
            stdout=self._early_output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, request: Request) -> None:
        """Give the driver its work."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.to_json().encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError:
            # It died while importing; whoever follows it finds that out and shows what it said.
            return

    def abandon(self) -> None:
        """End a driver that got no work."""
        self._process.kill()
        self._process.wait()
        self._early_output.close()

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> None:
        """Wait for the process to be gone; kills what is left of it after `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def interrupt(self) -> None:
        """Ask for a graceful stop; asked again, the driver does not wait any longer."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)

    def last_words(self) -> str:
        """What the driver said before it had a log of its own."""
        self._early_output.seek(0)
        return self._early_output.read().decode("utf-8", "replace").strip()


def new_request(spec: str, *, home: Path, resume: str | None = None) -> Request:
    """A request for a driver on this host, with a staging folder of its own."""
    token = uuid.uuid4().hex
    staging = home / "launching" / token
    staging.mkdir(parents=True, mode=0o700)
    return Request(spec=spec, token=token, staging=str(staging), resume=resume)


class LocalLaunch:
    """A run that a driver on this host owns.

    Args:
        driver: a driver waiting for work.
        spec: the resolved specification as YAML.
        settings: of this process.
        resume: id of the run to continue.
    """

    def __init__(self, driver: LocalDriver, *, spec: str, settings: Settings, resume: str | None) -> None:
        self._driver = driver
        self._settings = settings
        self._request = new_request(spec, home=settings.home_folder, resume=resume)
        self._run_id: str | None = None
        self._interrupted = False
        assert self._request.staging is not None
        # The driver appends to it and soon moves it; opened here, it is followed wherever it goes.
        events = Path(self._request.staging, EVENTS)
        events.touch(mode=0o600)
        self._reader = EventReader(events)
        driver.begin(self._request)

    def events(self) -> Iterator[Event]:
        """The run's events until the last one."""
        assert self._request.staging is not None
        for event in follow(self._reader, alive=self._driver.alive, on_death=self._death):
            if event["event"] == "run":
                self._run_id = event["run_id"]
            elif is_last(event) and self._run_id is None:
                shutil.rmtree(self._request.staging, ignore_errors=True)
            yield event

    def interrupt(self) -> None:
        """Ask the driver for a graceful stop; asked again, it does not wait any longer."""
        self._interrupted = True
        self._driver.interrupt()

    def finish(self) -> None:
        """Return when the driver is gone, so that nothing of the run is left when the command ends."""
        self._driver.wait(_LEAVING_S)

    def _death(self) -> Event:
        from forgeline.launching.local_ray import end_left_behind

        end_left_behind(self._driver.pid)
        if self._run_id is not None:
            from forgeline.ledger.ledger import Ledger

            # Looking at the run makes the ledger notice that its driver is gone.
            record = Ledger(self._settings.resolved_ledger_url).get(self._run_id)
            return {"event": "state", "state": record.state, "reason": record.reason, "message": record.message}
        if self._interrupted:
            return {"event": "error", "message": "cancelled before the run began", "exit_code": EXIT_CODES["cancelled"]}
        said = self._driver.last_words() or _tail(Path(self._request.staging or "", LOG))
        return {"event": "error", "message": f"the driver process ended before the run began: {said}", "exit_code": 1}


def _tail(log: Path) -> str:
    try:
        return " / ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
    except FileNotFoundError:
        return "nothing"
