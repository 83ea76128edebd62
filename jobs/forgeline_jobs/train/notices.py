"""Notice that a worker is about to be taken away: SIGTERM to it, or Ray's word to the driver that its node is drained.

Either leaves a file in the attempt's folder. The training thread asks `received` at every agreement of the ranks: one
that knows is enough for all to write a last checkpoint and stop. The signal handler runs in the main thread, where
Ray's actor answers its controller.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from forgeline_jobs.train.evidence import FAILURE

NOTICE = "preempted.json"


def leave(folder: Path, rank: int, why: str) -> None:
    """Write down that a rank is about to be taken away; the first notice of an attempt keeps its place."""
    own = folder / f"preempted-{rank}.json"
    with suppress(OSError):
        own.write_text(json.dumps({"rank": rank, "why": why}), encoding="utf-8")
        os.link(own, folder / NOTICE)


def told(folder: Path) -> set[int]:
    """The ranks of an attempt that were to be taken away."""
    return {int(path.stem.rpartition("-")[2]) for path in folder.glob("preempted-*.json")}


class Notices:
    """What this process was told. There is one in a worker, `NOTICES`."""

    def __init__(self) -> None:
        self._signalled = False
        self._folder: Path | None = None
        self._rank = 0
        self._before: Any = None

    def listen(self) -> None:
        """Take SIGTERM of this process from now on; called in its main thread."""
        before = signal.signal(signal.SIGTERM, self._on_signal)
        if before != self._on_signal:
            self._before = before

    def begin(self, folder: Path, rank: int) -> None:
        """Training begins: from now on a notice is for it, and is left in the attempt's folder."""
        self._folder, self._rank = folder, rank
        if self._signalled:
            self._leave()

    def end(self) -> None:
        """Training is over: SIGTERM means again what Ray means by it."""
        self._folder = None

    def received(self) -> bool:
        """Whether this worker, or one that it stands for, is about to be taken away."""
        # One look at the file system in a step is enough: the ranks agree.
        found = self._rank == 0 and self._folder is not None and (self._folder / NOTICE).exists()
        return self._signalled or found

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # After a failure Ray ends the other workers with SIGTERM, which announces nothing.
        over = self._folder is None or (self._folder / FAILURE).exists()
        if over and callable(self._before):
            self._before(number, frame)
        elif not self._signalled:
            self._signalled = True
            self._leave()

    def _leave(self) -> None:
        """The driver must know it even when there is no time for a checkpoint."""
        if self._folder is not None:
            leave(self._folder, self._rank, "it got SIGTERM")


NOTICES = Notices()


def listen() -> None:
    """As `NOTICES.listen`, by a name that Ray can send to a worker."""
    NOTICES.listen()
