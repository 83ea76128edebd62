"""What a run tells while it lives: one JSON object a line, each with `event` and `time` (milliseconds).

What a command itself adds when a driver died or a cluster does not answer is an event without a time.
The driver writes them, to a file on this host and, inside a Ray job, to its log behind a marker; the command line
and the Python API read them. A reader sees whole lines only: a line that is still being written is left for later.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

MARKER = "FORGELINE_EVENT "

Event = Mapping[str, Any]

EXIT_CODES: Mapping[str, int] = {"succeeded": 0, "failed": 100, "cancelled": 103, "timed_out": 104}
NOT_FINISHED = 101
_NEAR_BYTES = 2**16


def exit_code(state: str) -> int:
    """What `run`, `wait` and `logs -f` return for a run in this state.

    >>> exit_code("cancelled"), exit_code("running")
    (103, 101)
    """
    return EXIT_CODES.get(state, NOT_FINISHED)


def is_last(event: Event) -> bool:
    """Whether nothing follows this event in the present execution of the run."""
    return event["event"] == "error" or (event["event"] == "state" and event["state"] in EXIT_CODES)


class EventLog:
    """Writes events; safe to use from several threads.

    Args:
        path: file to append to.
        echo: stream that also gets every event, behind `MARKER`.
    """

    def __init__(self, path: Path, *, echo: TextIO | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")
        self._path = path
        self._echo = echo

    def emit(self, event: str, /, **fields: Any) -> None:
        """Write one event; what JSON cannot express (NaN, infinities) becomes text."""
        line = json.dumps({"event": event, "time": int(time.time() * 1000), **_plain(fields)}, allow_nan=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            if self._echo is not None:
                self._echo.write(f"{MARKER}{line}\n")
                self._echo.flush()

    @property
    def path(self) -> Path:
        return self._path

    def move(self, path: Path) -> None:
        """Give the file its final name; whoever has it open keeps reading it."""
        with self._lock:
            self._path.rename(path)
            self._path = path

    def close(self) -> None:
        with self._lock:
            self._file.close()


class EventReader:
    """Reads the events of a file that may still be growing, or may not be there yet.

    A file that is there is opened at once: it may be renamed before the first event is read.

    Args:
        path: the file of events.
        start: byte to begin at, so that a resumed run shows only what is new.
    """

    def __init__(self, path: Path, *, start: int = 0) -> None:
        self._path = path
        self._start = start
        self._file: Any = None
        self._rest = b""
        self._open()

    def read_new(self) -> list[Event]:
        """The events written since the last call."""
        if self._file is None and not self._open():
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return list(parse_lines(line.decode("utf-8", "replace") for line in lines))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        self._file.seek(self._start)
        return True


def newest_event(path: Path, name: str) -> Event | None:
    """The last event of this name near the end of a file; None when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _NEAR_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    return next((event for event in parse_lines(reversed(lines)) if event["event"] == name), None)


def parse_lines(lines: Iterable[str]) -> Iterator[Event]:
    """The events among the lines; a line cut short by a kill is passed over."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
