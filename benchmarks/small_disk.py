"""A small file system of its own, that can be filled to the last byte; mounting one takes root."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIECE = b"\0" * 65536


@dataclass(frozen=True)
class SmallDisk:
    """A file system.

    Attributes:
        folder: where it is mounted.
    """

    folder: Path

    def fill(self) -> None:
        """Write until there is no room for one byte more."""
        with self._ballast.open("ab", buffering=0) as out:
            for piece in (_PIECE, _PIECE[:512], _PIECE[:1]):
                try:
                    while out.write(piece):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Take away what it was filled with."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@contextlib.contextmanager
def mounted(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A file system while it is used.

    Args:
        folder: where it is mounted; is made.
        mebibytes: its size.

    Raises:
        RuntimeError: it cannot be mounted here.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
