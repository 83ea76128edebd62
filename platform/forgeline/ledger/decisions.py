"""Deciding by a journal: what was written is taken in, the next step follows from it, and is written before it counts.

Whoever was overtaken by another writer takes in what that one wrote and decides again, so that of two controllers that
race each decision is made once. Nothing else is remembered, which makes any moment a good one to be killed in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from forgeline.ledger.journal import Overtaken

Entry = Mapping[str, Any]


class Entries(Protocol):
    """A journal, as `forgeline.ledger.journal.Journal` is one."""

    def since(self, number: int) -> Sequence[Entry]: ...
    def append(self, *entries: Entry) -> None: ...
    def refresh(self) -> Sequence[Entry]: ...


class Decisions:
    """Base of what stands in a journal beside other things. One thread at a time.

    Args:
        journal: what was written so far, by whomever.
    """

    def __init__(self, journal: Entries) -> None:
        self._journal = journal
        self._taken = 0

    @abstractmethod
    def _take(self, entry: Entry) -> None:
        """Take in one entry; those of others are passed over."""

    def _catch_up(self) -> None:
        """Take in what this process has read or written since."""
        for entry in self._journal.since(self._taken):
            self._taken += 1
            self._take(entry)

    def _decide(self, step: Callable[[], Sequence[Entry]]) -> Sequence[Entry]:
        """Write what `step` says next, or nothing; it is asked again when somebody else wrote first.

        Raises:
            Superseded: this process may not write any more.
            LedgerError: the database does not answer; nothing was written or taken in.
        """
        while True:
            self._catch_up()
            entries = step()
            if not entries:
                return entries
            try:
                self._journal.append(*entries)
            except Overtaken:
                self._journal.refresh()
                continue
            self._catch_up()
            return entries
