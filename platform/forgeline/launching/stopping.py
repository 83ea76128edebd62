"""Why a run should stop, where from, and how long it has: signals, the ledger, the deadline, the grace period."""

from __future__ import annotations

import signal
import threading
import time
from typing import Literal

Cause = Literal["cancelled", "deadline", "idle", "superseded", "pruned", "paused"]


class StopControl:
    """One run's wish to stop. The first cause stands; a second request is taken as impatience.

    Args:
        grace_s: seconds between the wish and the kill.
    """

    def __init__(self, *, grace_s: float) -> None:
        self.grace_s = grace_s
        self._wish = threading.Event()
        self._kill_at: float | None = None
        self.cause: Cause | None = None

    def request(self, cause: Cause) -> None:
        """Ask the run to save what it has and end. One that is no longer its own saves nothing and ends at once."""
        if self._wish.is_set():
            return
        self.cause = cause
        self._kill_at = time.monotonic() + (0.0 if cause == "superseded" else self.grace_s)
        self._wish.set()

    def signalled(self) -> None:
        """SIGINT or SIGTERM arrived: the first asks, the second does not wait any longer."""
        if self._wish.is_set():
            self._kill_at = time.monotonic()
        self.request("cancelled")

    def listen(self) -> None:
        """Take SIGINT and SIGTERM of this process from now on; called in its main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self.signalled())

    def requested(self) -> bool:
        return self._wish.is_set()

    def overdue(self) -> bool:
        """Whether the grace period is over."""
        return self._kill_at is not None and time.monotonic() >= self._kill_at
