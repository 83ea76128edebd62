"""Writes the checkpoints of one worker: while training goes on, from copies that were made in between two steps.

Each worker has a thread that writes its files, syncs them and leaves their digests; that of rank 0 waits for the
digests of all, and seals the checkpoint. One is written at a time: the next waits for it.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.staging import Staging

Write = Callable[[Mapping[str, Any], Path], None]
Seal = Callable[[Mapping[str, str]], None]

_POLL_S = 0.02
_LAST_WORDS_S = 20.0  # for what is being written when training fails


class CheckpointFailed(Exception):
    """A checkpoint could not be written; those before it are whole."""


@dataclass(frozen=True)
class _File:
    name: str
    content: Mapping[str, Any]
    write: Write


class CheckpointWriter:
    """Takes what one worker is to write. Left with `with`, it has written all it took.

    Args:
        rank: of the worker.
        writers: how many workers write files of a checkpoint, from rank 0 on.
        asynchronous: whether training goes on meanwhile.
    """

    def __init__(self, *, rank: int, writers: int, asynchronous: bool = True) -> None:
        self._rank = rank
        self._writers = writers
        self._asynchronous = asynchronous
        self._staging: dict[str, Staging] = {}
        self._files: list[_File] = []
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def take(self, name: str, content: Mapping[str, Any], write: Write, *, apart: bool = False) -> None:
        """Copy what a file is to hold, once the checkpoint before is written.

        Args:
            name: of the file.
            content: nested dicts, lists and tuples; training may change its tensors afterwards.
            write: writes it to a path.
            apart: whether it can hold no two tensors of the same memory.

        Raises:
            CheckpointFailed: the one before could not be written.
        """
        self.wait()
        copied = self._staging.setdefault(name, Staging(apart=apart)).copy(content)
        self._files.append(_File(name, copied, write))

    def start(self, folder: Path, seal: Seal | None = None) -> None:
        """Write what was taken into a folder that is there.

        Args:
            seal: rank 0's; called with the digest of each file, of all workers, when they are written.

        Raises:
            CheckpointFailed: it could not be written, where training waits for it.
        """
        files, self._files = self._files, []
        if not files:
            return
        self._thread = threading.Thread(
            target=self._work, args=(folder, files, seal), name="checkpoint-writer", daemon=True
        )
        self._thread.start()
        if not self._asynchronous:
            self.wait()

    def check(self) -> None:
        """Wait for nothing.

        Raises:
            CheckpointFailed: something could not be written.
        """
        if self._error is not None:
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being written.

        Raises:
            CheckpointFailed: something could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise CheckpointFailed(
                f"a checkpoint could not be written: {error}; those before it are whole: make room, then resume the run"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        elif self._thread is not None:
            # Training failed, and that is what there is to tell; a worker that is gone will leave no digests.
            self._thread.join(_LAST_WORDS_S)

    def _work(self, folder: Path, files: list[_File], seal: Seal | None) -> None:
        try:
            for file in files:
                file.write(file.content, folder / file.name)
            digests = checkpoint.synced(folder, [file.name for file in files])
            if self._writers > 1:
                self._leave(folder, digests)
            if seal is not None:
                seal(digests if self._writers == 1 else self._gathered(folder))
        except BaseException as error:
            traceback.print_exception(error)
            self._error = error

    def _leave(self, folder: Path, digests: Mapping[str, str]) -> None:
        temporary = folder / f".digests-{self._rank}.tmp"
        temporary.write_text(json.dumps(digests), encoding="utf-8")
        temporary.replace(_digests(folder, self._rank))

    def _gathered(self, folder: Path) -> dict[str, str]:
        """Digests of all workers' files, whose own files are taken away."""
        gathered: dict[str, str] = {}
        for rank in range(self._writers):
            path = _digests(folder, rank)
            while not path.exists():
                time.sleep(_POLL_S)
            gathered |= json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
        return gathered


def _digests(folder: Path, rank: int) -> Path:
    return folder / f".digests-{rank}"
