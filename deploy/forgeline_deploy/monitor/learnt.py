"""What was learnt of the hours of the week, summed up now and then, so that a restart need not read weeks of windows.

It says nothing that the windows do not say: what is missing, or cannot be read, is learnt from them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forgeline_deploy.monitor import window_file
from forgeline_deploy.monitor.judging import Judge
from forgeline_deploy.monitor.pane import PaneKey, Stream
from forgeline_deploy.monitor.store import WindowStore
from forgeline_deploy.monitor.window import Part, Window
from forgeline_deploy.monitor.window_file import SealedFile, WindowCorrupted

ENTRY = "monitor.hours"
EVERY = 288
"""Windows from one sum to the next; with windows of five minutes, a day of them."""


class LearntHours:
    """Sums of the hours of one run's versions."""

    def __init__(self, store: WindowStore, tell: Callable[[str], None]) -> None:
        self._store, self._tell = store, tell
        self._written = max((entry["number"] for entry in _entries(store.journal.entries)), default=0)
        self._tried = 0

    def write(self, judge: Judge) -> None:
        """Write a sum where it is due, of a judge that has learnt from all stored windows and from no other.

        Raises:
            OSError, LedgerError: it cannot be written; it is due again with the next window.
        """
        number = len(self._store.windows)
        if not judge.hours or number < self._written + EVERY or number == self._tried:
            return
        # Ticks come far more often than windows, and a sum of many columns takes its time.
        self._tried = number
        parts: dict[Stream, Part] = {}
        rest: dict[str, Any] = {}
        for version, hours in judge.hours.items():
            mine, rest[version] = hours.learnt(version)
            parts |= mine
        sums = Window(key=PaneKey(0.0), end=0.0, closed=0.0, parts=dict(sorted(parts.items())), included={})
        file = window_file.seal(self._store.folder.path, "hours", window_file.window_bytes(sums, rest))
        told = {"name": file.name, "sha256": file.sha256}
        self._store.write({"entry": ENTRY, "number": number, "reference": _by(judge), "file": told})
        self._written = number

    def read(self, judge: Judge) -> None:
        """Have a judge learn what the stored windows say, all that can be read."""
        if not judge.hours:
            return
        known = 0
        for entry in reversed(_entries(self._store.journal.entries)):
            if entry["reference"] != _by(judge):
                continue
            try:
                content = window_file.sealed_bytes(self._store.folder.path, SealedFile(**entry["file"]))
                sums, rest = window_file.window_of(content)
            except WindowCorrupted as error:
                self._tell(f"what was learnt of the hours is learnt again from the windows: {error}")
                continue
            for version in rest.keys() & judge.hours.keys():
                mine = [(stream, part) for stream, part in sums.parts.items() if stream.version == version]
                judge.hours[version].take(mine, rest[version])
            known = entry["number"]
            break
        for stored in self._store.windows[known:]:
            try:
                judge.learn(self._store.folder.read(stored)[0])
            except WindowCorrupted as error:
                self._tell(f"window {stored.number}: {error}; nothing is learnt from it")


def _entries(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if entry.get("entry") == ENTRY]


def _by(judge: Judge) -> Any:
    return judge.config.model_dump(mode="json")["reference"]
