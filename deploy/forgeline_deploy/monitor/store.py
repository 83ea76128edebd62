"""Windows that are safe: files under the run's folder, each acknowledged by an entry in the run's journal.

First the file is on the disk, then the journal names it, and only then is the window acknowledged. A process that is
killed between the two leaves a file that nobody names; the window is closed again from what the replicas kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.ledger.journal import Behind, Overtaken
from forgeline_deploy.monitor import window_file
from forgeline_deploy.monitor.decision import Decision
from forgeline_deploy.monitor.pane import Answer, PaneKey, Stream
from forgeline_deploy.monitor.window import Source, Window
from forgeline_deploy.monitor.window_file import SealedFile

if TYPE_CHECKING:
    from forgeline.ledger.journal import Journal

ENTRY = "monitor.window"


@dataclass(frozen=True, kw_only=True)
class StoredWindow:
    """A window as the journal has it.

    Attributes:
        number: from 0, in the order of their storing.
        file: its counts, and the state of judging after it.
        answers: what was answered; None where no answers are kept.
    """

    number: int
    key: PaneKey
    end: float
    closed: float
    rows: int
    requests: int
    included: Mapping[Source, int]
    remarks: tuple[str, ...]
    decision: Decision
    file: SealedFile
    answers: SealedFile | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> StoredWindow:
        """Read from its entry in the journal."""
        answers = entry["answers"]
        return cls(
            number=entry["number"],
            key=PaneKey(entry["start"], entry["generation"]),
            end=entry["end"],
            closed=entry["closed"],
            rows=entry["rows"],
            requests=entry["requests"],
            included={(replica, Stream(role, version)): n for replica, role, version, n in entry["included"]},
            remarks=tuple(entry["remarks"]),
            decision=Decision.of(entry["decision"]),
            file=SealedFile(**entry["file"]),
            answers=None if answers is None else SealedFile(**answers),
        )


def stored_windows(entries: Iterable[Mapping[str, Any]]) -> list[StoredWindow]:
    """The windows of a journal, in the order of their storing."""
    return [StoredWindow.of(entry) for entry in entries if entry.get("entry") == ENTRY]


@dataclass(frozen=True)
class WindowFolder:
    """The files of a run's windows, for reading."""

    path: Path

    def read(self, stored: StoredWindow) -> tuple[Window, dict[str, Any]]:
        """A window, without its answers, and the state of judging after it.

        Raises:
            WindowCorrupted: its file is not as it was stored.
        """
        return window_file.window_of(window_file.sealed_bytes(self.path, stored.file))

    def answers(self, stored: StoredWindow) -> Iterator[tuple[Stream, Answer]]:
        """What was answered in a window.

        Raises:
            WindowCorrupted: its file is not as it was stored.
        """
        if stored.answers is not None:
            yield from window_file.answers_of(window_file.sealed_bytes(self.path, stored.answers))


class WindowStore:
    """The windows of a run that this process drives.

    Args:
        folder: `windows` in the run's folder.
        journal: of the run; other parts of a deployment write to it as well.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = WindowFolder(folder)
        self.journal = journal
        self.windows = stored_windows(journal.entries)

    def append(self, window: Window, decision: Decision, state: Mapping[str, Any]) -> StoredWindow:
        """Store a window; when this returns, it is safe. Called again after a failure, it stores it once.

        Raises:
            OSError: the file cannot be written.
            LedgerError: the journal cannot be written, or another process has the run by now (Superseded).
        """
        number = len(self.windows)
        stem = f"{number:06d}"
        answers = window_file.answers_bytes(window)
        entry = {
            "entry": ENTRY,
            "number": number,
            "start": window.key.start,
            "generation": window.key.generation,
            "end": window.end,
            "closed": window.closed,
            "rows": window.rows,
            "requests": window.requests,
            "included": [[replica, s.role, s.version, count] for (replica, s), count in window.included.items()],
            "remarks": list(window.remarks),
            "decision": decision.plain(),
            "file": _told(self._seal(stem, window_file.window_bytes(window, state))),
            "answers": None if answers is None else _told(self._seal(f"{stem}-answers", answers)),
        }
        self.write(entry)
        stored = StoredWindow.of(entry)
        self.windows.append(stored)
        return stored

    def write(self, *entries: Mapping[str, Any]) -> None:
        """Write entries, behind whatever other parts of the deployment have written meanwhile.

        Raises:
            Behind: another process has stored windows of this run since it was read; read it again, or stop.
            Superseded: another driver has the run; stop.
            LedgerError: the journal cannot be written.
        """
        while True:
            try:
                self.journal.append(*entries)
                return
            except Overtaken as error:
                if stored_windows(self.journal.refresh()):
                    raise Behind("another process stores windows of this deployment; this one is behind") from error

    def _seal(self, stem: str, content: bytes) -> SealedFile:
        return window_file.seal(self.folder.path, stem, content)


def _told(file: SealedFile) -> dict[str, str]:
    return {"name": file.name, "sha256": file.sha256}
