"""Delivery of spooled points to MLflow, in a thread of its own: a store that hangs holds up nothing else.

What waits, waits on disk: an outage costs no memory. Beside each spool stands up to which byte it was delivered; a
driver that comes later goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgeline.tracking.tracker import Point, Tracker

_SHIP_EVERY_S = 1.0
_BACK_OFF_LIMIT_S = 30.0
_CHUNK_BYTES = 2**17
_MARK = ".delivered"


class Backlog:
    """The points of one spool that the store has not got.

    Args:
        path: the spool, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = path.with_suffix(_MARK)
        self._offset = _number(self._mark)
        self._write_mark()

    def deliver(self, tracker: Tracker, run_id: str) -> bool:
        """Deliver the next points; False when there are none.

        Raises:
            TrackingError: the store did not take them.
        """
        points, end = self._read(self._offset)
        if end == self._offset:
            return False
        if points:
            tracker.log_points(run_id, points)
        self._offset = end
        self._write_mark()
        return True

    def count(self) -> int:
        """How many points are left."""
        number, start = 0, self._offset
        while True:
            points, end = self._read(start)
            if end == start:
                return number
            number, start = number + len(points), end

    def _read(self, start: int) -> tuple[list[Point], int]:
        """The points of the next lines, and where those end."""
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                content = file.read(_CHUNK_BYTES)
                content += b"" if content.endswith(b"\n") else file.readline()
        except FileNotFoundError:
            return [], start
        complete = content[: content.rfind(b"\n") + 1]
        return [point for line in complete.splitlines() for point in _points(line)], start + len(complete)

    def _write_mark(self) -> None:
        # Without it the points are delivered twice, which MLflow does not mind.
        with contextlib.suppress(OSError):
            self._mark.write_text(str(self._offset), encoding="ascii")


def leftovers(folder: Path) -> list[Backlog]:
    """What earlier executions of a run could not deliver.

    Args:
        folder: of the run.
    """
    return [Backlog(mark.with_suffix(".jsonl")) for mark in sorted(folder.glob(f"attempts/*/*{_MARK}"))]


class Delivery:
    """Delivers any number of spools until `close`.

    Args:
        tracker: the MLflow store.
        run_id: the run that points belong to.
        backlogs: spools to begin with.
    """

    def __init__(self, tracker: Tracker, run_id: str, backlogs: list[Backlog]) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._backlogs = backlogs
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def add(self, path: Path) -> None:
        """Deliver one more spool, which may not exist yet."""
        self._backlogs.append(Backlog(path))

    def close(self, *, within_s: float) -> str | None:
        """Deliver the rest; returns a sentence when something could not be delivered in time."""
        self._give_up_at = time.monotonic() + within_s
        self._closing.set()
        self._thread.join(within_s + 1.0)
        left = sum(backlog.count() for backlog in self._backlogs)
        if not left:
            return None
        return (
            f"{left} metric points could not be delivered to the tracking store ({self._trouble or 'it is too slow'}); "
            "they are kept in the run's folder, in attempts/*/spool-0.jsonl, and delivered when it is resumed"
        )

    def _run(self) -> None:
        pause = _SHIP_EVERY_S
        while not self._closing.wait(pause):
            # A refusal is tried again ever more rarely.
            pause = _SHIP_EVERY_S if self._ship() else min(2 * pause, _BACK_OFF_LIMIT_S)
        pause = _SHIP_EVERY_S
        while not self._ship() and time.monotonic() < self._give_up_at:
            time.sleep(min(pause, max(0.0, self._give_up_at - time.monotonic())))
            pause *= 2

    def _ship(self) -> bool:
        try:
            for backlog in list(self._backlogs):
                while time.monotonic() < self._give_up_at and backlog.deliver(self._tracker, self._run_id):
                    pass
        except Exception as error:
            self._trouble = str(error)
            return False
        self._trouble = None
        return True


def _points(text: bytes) -> Iterator[Point]:
    from forgeline.tracking.tracker import Point

    # A line that is damaged, or says something else, holds no points.
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        line: Any = json.loads(text)
        if line["kind"] == "metrics":
            step, moment = int(line["step"]), int(line["time"])
            for key, value in line["values"].items():
                yield Point(key=key, value=value, step=step, time_ms=moment)


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
