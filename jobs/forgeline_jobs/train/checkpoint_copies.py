"""Copies of a run's checkpoints in another place: a folder, or a URL of any file system that fsspec or Arrow knows.

The manifest is copied last: a copy without one is not whole. What is fetched is held against the manifest's digests.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from forgeline.errors import SpecError
from forgeline.masking import redact
from forgeline_jobs.train import checkpoint

KEY = "checkpoint.copy_to"
# Arrow's wheels bring their own clients of these.
_ARROW = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")


class CheckpointCopies:
    """The copies of one run. Nothing is opened before it is needed.

    Args:
        place: folder or URL; the run's are in a folder of its own below it.
        run_id: the run.
    """

    def __init__(self, place: str, run_id: str) -> None:
        self._place = place
        self._run_id = run_id

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        files, root = _file_system(self._place)
        return files, f"{root.rstrip('/')}/{self._run_id}"

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    def check(self) -> None:
        """Write a file where the copies will be, or above, read it and remove it.

        Raises:
            SpecError: that does not go, or nothing here knows such URLs.
        """
        try:
            probe = f"{self._nearest()}/.forgeline-{uuid.uuid4().hex}"
            self._files.pipe_file(probe, b"probe")
            intact = self._files.cat_file(probe) == b"probe"
            self._files.rm_file(probe)
        except Exception as error:
            raise SpecError(
                f"got {redact(self._place)}, which cannot be written to: {_reason(error)}; "
                "give a folder or a URL such as s3://bucket/folder",
                key=KEY,
            ) from error
        if not intact:
            raise SpecError(f"got {redact(self._place)}, which does not give back what is written to it", key=KEY)

    def _nearest(self) -> str:
        """The folder that holds the copies, or will: the nearest above them that is there."""
        folder = self._root.rpartition("/")[0]
        while folder and not self._files.exists(folder):
            folder = folder.rpartition("/")[0]
        return folder

    def steps(self) -> list[int]:
        """Steps of the copies that are whole, oldest first."""
        return sorted(step for step in self._begun() if self._files.exists(f"{self._of(step)}/{checkpoint.MANIFEST}"))

    def _begun(self) -> list[int]:
        """Steps of all copies, also of those that were never finished."""
        if not self._files.exists(self._root):
            return []
        self._files.invalidate_cache(self._root)
        names = [path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
        return [step for name in names if (step := checkpoint.step_of(name)) is not None]

    def update(self, root: Path, keep: Callable[[Collection[int]], Collection[int]]) -> None:
        """Copy the checkpoints of a folder that are not copied yet, and remove copies of those that are not kept.

        Args:
            keep: of the steps that are here or there, those to keep.
        """
        whole, here = self.steps(), checkpoint.by_step(root)
        kept = keep({*whole, *here})
        for step, folder in here.items():
            if step in kept and step not in whole:
                self._put(folder, step)
        for step in self._begun():
            if step not in kept:
                self._files.rm(self._of(step), recursive=True)

    def newest(self, root: Path, *, unless: Path | None, warn: Callable[[str], None]) -> Path | None:
        """The newest checkpoint there is: the one at hand, or a newer intact copy, which is brought back.

        Args:
            root: folder of the run's checkpoints.
            unless: the newest intact checkpoint in it.
            warn: gets what is wrong with a copy, or with their place.

        Raises:
            SpecError: a copy was written by a newer Forgeline.
        """
        at_hand = -1 if unless is None else checkpoint.step_of(unless.name) or 0
        try:
            for step in reversed([step for step in self.steps() if step > at_hand]):
                fetched = self.fetch(step, root)
                if fetched is not None:
                    warn(f"checkpoint {fetched.name} was brought back from {redact(self._place)}")
                    return fetched
                self._files.rm(self._of(step), recursive=True)  # or it would be taken for a copy of the one to come
                warn(f"the copy of checkpoint {checkpoint.folder_name(step)} is damaged; trying the one before it")
        except SpecError:
            raise
        except Exception as error:  # each file system has its own
            warn(f"copies of checkpoints in {redact(self._place)} cannot be read: {_reason(error)}")
        return unless

    def fetch(self, step: int, root: Path) -> Path | None:
        """Bring a copy back into a folder; None, and nothing is left of it, where its bytes are not those written."""
        temporary = root / f".{checkpoint.folder_name(step)}.fetched"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self._files.get(f"{self._of(step)}/", f"{temporary}/", recursive=True)
        if checkpoint.verified(temporary) is None:
            shutil.rmtree(temporary)
            return None
        folder = root / checkpoint.folder_name(step)
        shutil.rmtree(folder, ignore_errors=True)
        return temporary.rename(folder)

    def _put(self, folder: Path, step: int) -> None:
        target = self._of(step)
        self._files.makedirs(target, exist_ok=True)
        files = sorted(folder.iterdir(), key=lambda path: path.name == checkpoint.MANIFEST)
        try:
            for file in files:
                self._files.put_file(str(file), f"{target}/{file.name}")
        except FileNotFoundError:
            if folder.exists():
                raise
            self._files.rm(target, recursive=True)  # a newer one took its place while it was copied

    def _of(self, step: int) -> str:
        return f"{self._root}/{checkpoint.folder_name(step)}"


class CopyThread:
    """Copies while training goes on; a place that is slow or away holds up nothing.

    Args:
        copies: of the run.
        root: folder of its checkpoints.
        warn: gets what went wrong.
    """

    def __init__(self, copies: CheckpointCopies, root: Path, warn: Callable[[str], None]) -> None:
        self._copies = copies
        self._root = root
        self._warn = warn
        self._changed = threading.Condition()
        self._keep: Callable[[Collection[int]], Collection[int]] | None = None
        self._busy = False
        self._thread: threading.Thread | None = None

    def update(self, keep: Callable[[Collection[int]], Collection[int]]) -> None:
        """Copy what there is now, when the copy before is done; see `CheckpointCopies.update`."""
        with self._changed:
            self._keep = keep
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoint-copies", daemon=True)
                self._thread.start()

    def fetch(self, step: int) -> bool:
        """Bring a checkpoint back; whether that went, and a warning where the place is away."""
        try:
            return self._copies.fetch(step, self._root) is not None
        except Exception as error:  # each file system has its own
            self._warn(
                redact(f"the copy of checkpoint {checkpoint.folder_name(step)} cannot be read: {_reason(error)}")
            )
            return False

    def finish(self, *, within_s: float) -> None:
        """Wait until all is copied, but not for ever."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._keep is None and not self._busy, within_s):
                self._warn(f"the newest checkpoint was not copied to {KEY} within {within_s:.0f} s")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._keep is not None)
                keep, self._keep, self._busy = self._keep, None, True
            assert keep is not None
            try:
                self._copies.update(self._root, keep)
            except Exception as error:
                # The checkpoint itself is whole; the next one copies what this one could not.
                self._warn(redact(f"checkpoints were not copied to {KEY}, and will be with the next one: {error}"))
            with self._changed:
                self._busy = False
                self._changed.notify_all()


def _file_system(place: str) -> tuple[Any, str]:
    """The file system of a folder or URL, and the path in it."""
    scheme = urlsplit(place).scheme
    if scheme in _ARROW:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import FileSystem

        system, path = FileSystem.from_uri(place)
        return ArrowFSWrapper(system), path
    from fsspec.core import url_to_fs

    system, path = url_to_fs(place if scheme else str(Path(place).expanduser().resolve()))
    return system, path


def _reason(error: BaseException) -> str:
    lines = redact(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
