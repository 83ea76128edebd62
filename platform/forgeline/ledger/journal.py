"""A run's journal: what it writes down so that, killed at any moment and resumed, it goes on as if nothing had been.

An entry is written before what it tells of takes effect. Entries are numbered without a gap, and only in the name of
the run's driver may anybody write: one that was taken for dead, and lives, is refused. Of two that write in its name
(a restarted controller and the one before it, a person's approval) the second is told that it was overtaken.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from forgeline.errors import LedgerError
from forgeline.ledger.rows import plain

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord


class Superseded(LedgerError):
    """Another driver has the run by now, or it was ended: whoever wrote in the old driver's name writes no more."""


class Behind(Superseded):
    """Another process of the same driver wrote what only one may write; who begins anew by the journal may go on."""


class Overtaken(LedgerError):
    """Somebody else wrote to the journal since it was read; nothing was written. `refresh`, and decide again."""


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
    def owner(self) -> RunRecord:
        """The run, as the driver in whose name is written took it."""
        return self._owner

    @property
    def entries(self) -> tuple[dict[str, Any], ...]:
        """All that was written, first to last."""
        return tuple(self._entries)

    def since(self, number: int) -> tuple[dict[str, Any], ...]:
        """What was written from this number on, counted from 0."""
        return tuple(self._entries[number:])

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write entries, all or none; returns when they are safe.

        Raises:
            Superseded: this driver has the run no more.
            Overtaken: another process wrote in the driver's name meanwhile.
            LedgerError: the database does not answer; nothing was written.
        """
        with self._lock:
            kept = [dict(entry) for entry in entries]
            if not self._written(kept):
                raise Superseded(f"run {self._owner.id} has another driver, or has ended; nothing was written down")
            self._entries += kept

    def refresh(self) -> tuple[dict[str, Any], ...]:
        """Read what other processes wrote since, and return it.

        Raises:
            LedgerError: the database does not answer.
        """
        with self._lock:
            later = self._ledger.journal(self._owner.id, since=len(self._entries))
            self._entries += later
            return tuple(later)

    def _written(self, entries: list[dict[str, Any]]) -> bool:
        number = len(self._entries)
        try:
            return self._ledger.writer.append_to_journal(self._owner, number, entries)
        except LedgerError as error:
            # The connection may have been lost after they were written; or somebody else wrote them, which is as good.
            later = self._ledger.journal(self._owner.id, since=number)
            if later[: len(entries)] == plain(entries):
                return True
            if later:
                raise Overtaken(f"{error}; another process wrote to the journal of run {self._owner.id}") from error
            raise
