"""The spool: a file to which a worker appends what it measures, and from which the driver reads.

- One line is one `write` to a file opened for appending: nothing is lost when the process is killed, and threads need
  no lock. It costs some microseconds, so every step may call it.
- Numbers that are not finite are written as `NaN` and `Infinity`, which Python's JSON reads back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Spool:
    """Appends lines to a file, which is created with its folder when it does not exist.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # Somebody was killed while writing: their line must not swallow ours.
            os.write(self._file, b"\n")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write what was measured at an optimizer step."""
        numbers = {key: float(value) for key, value in values.items()}
        self._write({"kind": "metrics", "step": step, "time": time.time_ns() // 1_000_000, "values": numbers})

    def event(self, name: str, **fields: Any) -> None:
        """Write that something happened; fields are JSON values."""
        self._write({"kind": "event", "event": name, "time": time.time_ns() // 1_000_000, **fields})

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._file, _encode(line).encode() + b"\n")


class SpoolReader:
    """Reads a spool that may still grow, or not exist yet.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.damaged = 0
        """Lines that could not be read so far: of writers that were killed in the middle of one."""

    def read_new(self) -> list[dict[str, Any]]:
        """Lines that were completed since the last call."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                content = stream.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [line for text in complete.splitlines() if text and (line := self._parsed(text)) is not None]

    def _parsed(self, text: bytes) -> dict[str, Any] | None:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            self.damaged += 1
            return None
        return line
