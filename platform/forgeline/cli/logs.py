"""What `forgeline runs logs` shows: the run's events as plain lines, and what its workers and its driver wrote.

A resumed run has a file of events for each execution (`events.1.jsonl`, …, the newest `events.jsonl`). Files are known
by their inode: the newest is renamed when the run is resumed while somebody follows it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.cli.progress import PlainDisplay, describe
from forgeline.errors import NotFound
from forgeline.launching.events import EXIT_CODES, is_last, parse_lines

if TYPE_CHECKING:
    from forgeline.api import Run

_POLL_S = 0.3
# The ledger knows the end of a run a moment before its events do.
_LAST_WORDS_S = 3.0


class Source(StrEnum):
    """Where lines come from."""

    EVENTS = "events"
    WORKERS = "workers"
    DRIVER = "driver"


class RunLog:
    """The lines of a run that were not shown yet.

    Args:
        run: whose.
        sources: what to show.
        attempt: number of the one attempt to show; all without it.
        rank: number of the one worker to show; all without it.
        write: takes each line.
    """

    def __init__(
        self,
        run: Run,
        *,
        sources: Sequence[Source],
        attempt: int | None,
        rank: int | None,
        write: Callable[[str], None],
    ) -> None:
        self._run = run
        self._sources = sources
        self._attempt = attempt
        self._rank = rank
        self._write = write
        self._display = PlainDisplay(write)
        self._position: dict[int, int] = {}
        self._number: dict[int, int] = {}
        self._ended = False

    def show(self) -> None:
        """Write all there is.

        Raises:
            NotFound: there is no log of what is asked for.
        """
        final = self._run.state in EXIT_CODES
        if not self._files():
            raise NotFound(f"run {self._run.id} has no log of {self._asked()}")
        self._show_new(whole=True)
        if final:
            self._show_end()

    def follow(self) -> str:
        """Write what comes until the run has ended; returns the state."""
        while (state := self._run.state) not in EXIT_CODES:
            self._show_new(whole=False)
            time.sleep(_POLL_S)
        self._show_new(whole=False)
        until = time.monotonic() + _LAST_WORDS_S
        while Source.EVENTS in self._sources and not self._ended and time.monotonic() < until:
            time.sleep(_POLL_S)
            self._show_new(whole=False)
        self._show_new(whole=True)
        self._show_end()
        return state

    def _show_new(self, *, whole: bool) -> None:
        for source, label, path in self._files():
            inode, lines = self._new_lines(path, whole=whole)
            if source is Source.EVENTS:
                self._show_events(inode, lines)
            else:
                for line in lines:
                    self._write(f"{label}: {line}")

    def _show_events(self, inode: int, lines: Sequence[str]) -> None:
        if not lines:
            return
        number = self._number.setdefault(inode, max(self._number.values(), default=0) + 1)
        for event in parse_lines(lines):
            if event["event"] == "attempt":
                number = self._number[inode] = event["number"]
            self._ended = is_last(event)
            if self._attempt in (None, number):
                self._display.show(event)

    def _show_end(self) -> None:
        """What a driver that died could not tell, the ledger knows."""
        if Source.EVENTS in self._sources and not self._ended:
            record = self._run.record
            self._write(str(describe({"event": "state", "state": record.state, "message": record.message})))

    def _files(self) -> list[tuple[Source, str, Path]]:
        """What there is to show, in order, each with the name that stands before its lines."""
        paths = self._run.paths
        found = [(Source.EVENTS, "", path) for path in _executions(paths.events)]
        folders = sorted(paths.attempt(1).parent.glob("*"), key=lambda folder: int(folder.name))
        for folder in folders:
            of = f"attempt {folder.name}, " if len(folders) > 1 and self._attempt is None else ""
            if self._attempt in (None, int(folder.name)):
                ranks = sorted((int(path.stem.removeprefix("rank")), path) for path in folder.glob("rank*.log"))
                logs = [(rank, path) for rank, path in ranks if self._rank in (None, rank)]
                found += [(Source.WORKERS, f"{of}rank {rank}", path) for rank, path in logs]
        if self._attempt is None:
            found += [(Source.DRIVER, "driver", path) for path in _executions(paths.driver_log)]
        return [each for each in found if each[0] in self._sources]

    def _new_lines(self, path: Path, *, whole: bool) -> tuple[int, list[str]]:
        """A file's inode, and what was appended.

        A line, or a character, cut in two by the end of the file waits for its other half.
        """
        try:
            with path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                file.seek(self._position.get(inode, 0))
                chunk = file.read()
        except FileNotFoundError:
            # Renamed this moment, since the run is resumed: the next look finds it.
            return 0, []
        text = chunk if whole else chunk[: chunk.rfind(b"\n") + 1]
        self._position[inode] = self._position.get(inode, 0) + len(text)
        lines = text.decode("utf-8", "replace").split("\n")
        return inode, lines if lines[-1] else lines[:-1]

    def _asked(self) -> str:
        what = [] if self._rank is None else [f"rank {self._rank}"]
        what += [] if self._attempt is None else [f"attempt {self._attempt}"]
        return " in ".join(what) or "its own on this host"


def _executions(newest: Path) -> list[Path]:
    """The files of a run's executions, first to last: `events.1.jsonl`, …, `events.jsonl`."""
    earlier = newest.parent.glob(f"{newest.stem}.*{newest.suffix}")
    ordered = sorted(earlier, key=lambda path: int(path.stem.rpartition(".")[2]))
    return [*ordered, *([newest] if newest.exists() else [])]
