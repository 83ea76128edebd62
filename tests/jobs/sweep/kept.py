"""A journal in memory, for a study alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Kept:
    """A journal in memory; the ledger's own is tested with the ledger."""

    def __init__(self, entries: list[dict[str, Any]] | None = None) -> None:
        self.entries = list(entries or [])
        self.within: set[int] = set()  # where an entry was written at once with the one before

    def append(self, *entries: Mapping[str, Any]) -> None:
        self.within |= {len(self.entries) + later for later in range(1, len(entries))}
        self.entries += [dict(entry) for entry in entries]
