"""The driver's line to the ledger while a run goes on: renews the lease, hears the wish to cancel.

It has a thread of its own: a ledger that is locked or away makes it wait, and neither signals nor the deadline wait.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from forgeline.ledger.leases import RENEW_EVERY_S

_POLL_S = 0.5


class LedgerWatch:
    """Watches until `close`.

    Args:
        renew: renews the lease; False when the run is no longer this driver's.
        cancel_requested: whether somebody asked the run to stop.
        on_lost: called once when the lease is lost.
    """

    def __init__(
        self, *, renew: Callable[[], bool], cancel_requested: Callable[[], bool], on_lost: Callable[[], None]
    ) -> None:
        self._renew = renew
        self._ask = cancel_requested
        self._on_lost = on_lost
        self._closing = threading.Event()
        self._renew_at = 0.0
        self.cancel_requested = False
        self.lost = False
        self._thread = threading.Thread(target=self._run, name="ledger-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more. A call that is under way is not waited for."""
        self._closing.set()

    def _run(self) -> None:
        away = False
        while not self._closing.is_set() and not self.lost:
            try:
                self.look()
                away = False
            except Exception:
                # A ledger that is away for a moment must not end a training; the next look asks again. The driver's
                # log is told once for as long as it lasts.
                if not away:
                    traceback.print_exc(file=sys.stderr)
                away = True
            self._closing.wait(_POLL_S)

    def look(self) -> None:
        """Look once."""
        self.cancel_requested = self.cancel_requested or self._ask()
        if time.monotonic() < self._renew_at:
            return
        if not self._renew():
            # A run that has just ended by itself is no longer renewed either.
            if not self._closing.is_set():
                self.lost = True
                self._on_lost()
            return
        self._renew_at = time.monotonic() + RENEW_EVERY_S
