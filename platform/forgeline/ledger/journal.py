"""A run's journal: what it writes down so that, killed at any moment and resumed, it goes on as if nothing had been.

An entry is written before what it tells of takes effect. Entries are numbered without a gap, and only the run's driver
may write: one that was taken for dead, and lives, is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from forgeline.errors import LedgerError

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord


class Superseded(LedgerError):
    """Another driver has the run by now, or it was ended."""


class Journal:
    """The journal of a run that this process drives. Safe to use from several threads.

    Args:
        ledger: where it is.
        owner: the run, as this driver took it.
    """

    def __init__(self, ledger: Ledger, owner: RunRecord) -> None:
        self._ledger = ledger
        self._owner = owner
        self._lock = threading.Lock()
        self._entries = ledger.journal(owner.id)

    @property
    def entries(self) -> tuple[dict[str, Any], ...]:
        """All that was written, first to last."""
        return tuple(self._entries)

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write entries, all or none; returns when they are safe.

        Raises:
            Superseded: this driver has the run no more.
            LedgerError: the database does not answer; nothing was written.
        """
        with self._lock:
            kept = [dict(entry) for entry in entries]
            if not self._written(kept):
                raise Superseded(f"run {self._owner.id} has another driver, or has ended; nothing was written down")
            self._entries += kept

    def _written(self, entries: list[dict[str, Any]]) -> bool:
        number = len(self._entries)
        try:
            return self._ledger.writer.append_to_journal(self._owner, number, entries)
        except LedgerError:
            # The connection may have been lost after they were written.
            if len(self._ledger.journal(self._owner.id)) == number + len(entries):
                return True
            raise
