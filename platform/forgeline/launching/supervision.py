"""Runs a kind in a thread and watches over it: signals, cancel requests, deadline, idling, the kill after the grace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forgeline.launching.stopping import StopControl

_POLL_S = 0.05
_LEDGER_POLL_S = 0.5
_AFTER_KILL_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How the work ended.

    Attributes:
        result: what it returned.
        error: what it raised.
        killed: it was killed since it did not stop in time.
    """

    result: dict[str, Any] | None
    error: BaseException | None
    killed: bool


class Progress:
    """When a piece of work last got on; may be told and asked from any thread."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def __call__(self) -> None:
        """It got on."""
        self._at = time.monotonic()

    def idle_s(self) -> float:
        """Seconds since it last got on, or began."""
        return time.monotonic() - self._at


class Supervisor:
    """Watches one piece of work from the main thread.

    Args:
        stop: the run's wish to stop.
        cancel_requested: asks the ledger, which other terminals write to; may raise when it is unreachable.
        on_stop: called when the run is asked to stop, until it raises nothing.
        kill: ends the workers, so that the kind's calls return.
        deadline_s: seconds the work may take.
        max_idle_s: seconds that it may go without progress.
        progress: tells when it last got on.
    """

    def __init__(
        self,
        *,
        stop: StopControl,
        cancel_requested: Callable[[], bool],
        on_stop: Callable[[], None],
        kill: Callable[[], None],
        deadline_s: float | None,
        max_idle_s: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._stop = stop
        self._cancel_requested = cancel_requested
        self._on_stop = on_stop
        self._kill = kill
        self._deadline = None if deadline_s is None else time.monotonic() + deadline_s
        self._max_idle_s = max_idle_s
        self._progress = progress if progress is not None else Progress()
        self._asked_ledger = 0.0
        self._tell_at = 0.0
        self._told = False

    def run(self, work: Callable[[], dict[str, Any]]) -> Ended:
        """Do the work; returns when it ended, or was killed."""
        box: dict[str, Any] = {}

        def target() -> None:
            try:
                box["result"] = work()
            except BaseException as error:
                box["error"] = error

        thread = threading.Thread(target=target, name="kind", daemon=True)
        thread.start()
        killed = False
        while thread.is_alive() and not killed:
            thread.join(_POLL_S)
            self.look()
            killed = thread.is_alive() and self._stop.overdue()
        if killed:
            self._kill()
            thread.join(_AFTER_KILL_S)
        return Ended(result=box.get("result"), error=box.get("error"), killed=killed)

    def look(self) -> None:
        """Notice what asks the run to stop, and pass it on once."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._stop.request("deadline")
        if self._max_idle_s is not None and self._progress.idle_s() >= self._max_idle_s:
            self._stop.request("idle")
        if not self._stop.requested() and now - self._asked_ledger >= _LEDGER_POLL_S:
            self._asked_ledger = now
            if self._ledger_says_stop():
                self._stop.request("cancelled")
        if self._stop.requested() and not self._told and now >= self._tell_at:
            self._tell_at = now + _LEDGER_POLL_S
            self._told = self._pass_on()

    def _pass_on(self) -> bool:
        try:
            self._on_stop()
        except Exception:
            # A full disk or a ledger that is away must not cost the work its grace; a later look tries again.
            return False
        return True

    def _ledger_says_stop(self) -> bool:
        try:
            return self._cancel_requested()
        except Exception:
            # A ledger that is away for a moment must not end a training; the next look asks again.
            return False
