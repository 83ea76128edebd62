"""The spool: a file to which a worker appends what it measures, and from which the driver reads.

- A line is one JSON object; its last member, `crc`, is the CRC-32 of what stands before it. A line that was altered or
  cut is noticed, counted and passed over. Spools of Forgeline 0.1.0 have none and are read as they are.
- A line is one `write` to a file opened for appending: nothing is lost when the process is killed. It costs some
  microseconds, so every step may call it.
- A disk that is full costs no step: what it does not take waits in memory and is written first when there is room. From
  16 MiB on, metrics are dropped and counted; what still finds no room when the spool is closed is lost.
- Numbers that are not finite are written as `NaN` and `Infinity`, which Python's JSON reads back.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_CRC = b',"crc":"'
_TRAILER_BYTES = len(_CRC) + 8 + len(b'"}')
_DIGITS = re.compile(rb'[0-9a-f]{8}"}\n$')
_WAITING_BYTES = 2**24
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Spool:
    """Appends lines to a file, which is created with its folder when it does not exist. Threads may share it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._turn = threading.Lock()
        self._waiting = bytearray()
        self._dropped = 0
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # Somebody was killed while writing: their line must not swallow ours.
            self._waiting += b"\n"

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write what was measured at an optimizer step; dropped where the disk is full and too much waits for it."""
        numbers = {key: float(value) for key, value in values.items()}
        line = _line({"kind": "metrics", "step": step, "time": _now_ms(), "values": numbers})
        with self._turn:
            if len(self._waiting) >= _WAITING_BYTES:
                # Perhaps there is room again.
                self._write()
            if len(self._waiting) >= _WAITING_BYTES:
                self._dropped += 1
            else:
                self._add(line)

    def event(self, name: str, **fields: Any) -> None:
        """Write that something happened; fields are JSON values."""
        line = _event(name, **fields)
        with self._turn:
            self._add(line)

    def close(self) -> None:
        """Write what waits if there is room by now, and close the file; a second time does nothing."""
        with self._turn:
            if self._file < 0:
                return
            try:
                if self._dropped:
                    self._tell_dropped()
                if self._waiting:
                    self._write()
            finally:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, line: bytes) -> None:
        if self._dropped and len(self._waiting) < _WAITING_BYTES:
            self._tell_dropped()
        self._waiting += line
        self._write()

    def _tell_dropped(self) -> None:
        text = f"the disk was full for too long: {self._dropped} lines of metrics were dropped"
        self._waiting += _event("message", text=text, level="warning", dropped=self._dropped)
        self._dropped = 0

    def _write(self) -> None:
        try:
            written = os.write(self._file, self._waiting)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return
        del self._waiting[:written]


def _event(name: str, **fields: Any) -> bytes:
    return _line({"kind": "event", "event": name, "time": _now_ms(), **fields})


def _line(content: Mapping[str, Any]) -> bytes:
    return checked(_encode(content).encode())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def checked(text: bytes) -> bytes:
    """A JSON object as a line of a spool, with its checksum.

    >>> checked(b'{"kind":"event"}')
    b'{"kind":"event","crc":"76baa5c8"}\\n'
    """
    return b'%s%s%08x"}\n' % (text[:-1], _CRC, zlib.crc32(text))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a spool.

    Attributes:
        end: byte that the next line begins at.
        content: what it says; None when it is damaged.
    """

    end: int
    content: dict[str, Any] | None


class SpoolReader:
    """Reads a spool that may still grow, or not exist yet.

    Args:
        path: the file.
        start: byte to begin at, which a line begins at.

    Attributes:
        offset: byte that it goes on from.
        damaged: lines so far that were altered, or cut when their writer was killed.
    """

    def __init__(self, path: Path, *, start: int = 0) -> None:
        self._path = path
        self._has_checksums: bool | None = None
        self.offset = start
        self.damaged = 0

    def read_new(self) -> list[dict[str, Any]]:
        """What the lines say that were completed since the last call."""
        return [line.content for line in self.read_lines() if line.content is not None]

    def read_lines(self, about_bytes: int = -1) -> list[Line]:
        """The lines that were completed since the last call.

        Args:
            about_bytes: how many bytes to read, to the end of a line; all without it.
        """
        try:
            with self._path.open("rb") as stream:
                self._look_at_first(stream.readline())
                stream.seek(self.offset)
                content = stream.read(about_bytes)
                content += b"" if content.endswith(b"\n") else stream.readline()
        except FileNotFoundError:
            return []
        lines = []
        for text in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
            self.offset += len(text) + 1
            if text:
                lines.append(Line(self.offset, self._content(text)))
        return lines

    def cut_at_end(self) -> bool:
        """Whether a line begins after those that were read and does not end: its writer, if dead, was killed in it."""
        try:
            return self._path.stat().st_size > self.offset
        except FileNotFoundError:
            return False

    def _content(self, text: bytes) -> dict[str, Any] | None:
        content = _parsed(text)
        if content is not None and not _is_intact(text) and ("crc" in content or self._has_checksums is not False):
            content = None
        if content is None:
            self.damaged += 1
            return None
        content.pop("crc", None)
        return content

    def _look_at_first(self, text: bytes) -> None:
        """A spool of 0.1.0 shows in its first line."""
        if self._has_checksums is None and text.endswith(b"\n"):
            # Where one byte of a checksum was altered, its digits still end the line, or its key is still there.
            first = _parsed(text)
            self._has_checksums = first is None or "crc" in first or _DIGITS.search(text) is not None


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _is_intact(text: bytes) -> bool:
    body, trailer = text[:-_TRAILER_BYTES] + b"}", text[-_TRAILER_BYTES:]
    return trailer == b'%s%08x"}' % (_CRC, zlib.crc32(body))
