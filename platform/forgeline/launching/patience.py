"""Waiting for a ledger that is away for a moment: a database that restarts, a file that is locked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from forgeline.errors import LedgerError
from forgeline.ledger.states import IllegalTransition

T = TypeVar("T")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


def patiently(call: Callable[[], T], *, within_s: float, unless: Callable[[], bool] = lambda: False) -> T:
    """Call until the ledger answers.

    Args:
        call: asks the ledger, or writes to it.
        within_s: when to stop trying.
        unless: whether to stop trying at once.

    Raises:
        LedgerError: it did not answer in time, or refused the change of state.
    """
    until = time.monotonic() + within_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return call()
        except IllegalTransition:
            raise
        except LedgerError:
            if unless() or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
