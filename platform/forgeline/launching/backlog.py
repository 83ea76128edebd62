"""One spool, and how much of it the tracking store has: what is still to be sent, and under which keys.

MLflow cannot take a point back. So a point goes to the run's own key (`train/loss`) once its step is safe: a checkpoint
covers it, or the attempt ended well. Until then it goes to `live/train/loss`, where a step that is done again does no
harm. Beside the spool stands how far it was delivered; a process that comes later goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.tracking.names import LIVE
from forgeline.tracking.spool import Line, SpoolReader

if TYPE_CHECKING:
    from forgeline.tracking.tracker import Point

CHUNK_BYTES = 2**17
_MARK = ".delivered"
_NOTHING = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """How far a spool was delivered.

    Attributes:
        own: byte up to which the run's own keys have what they should.
        passed_over: byte of the first line before `own` that was not safe; None where all were.
        live: byte up to which the keys under `live/` have what they should.
        covered: last step that a checkpoint of this attempt holds; the step that it began at before the first one.
        ended: step that a later attempt went on from, which counts from then on; None where there was none yet.
        whole: the attempt ended well; all of its steps are safe.
    """

    own: int = 0
    passed_over: int | None = None
    live: int = 0
    covered: int = _NOTHING
    ended: int | None = None
    whole: bool = False

    @property
    def safe_step(self) -> float:
        """The last step that will not be done again."""
        if self.whole:
            return math.inf
        return self.covered if self.ended is None else self.ended


class Backlog:
    """What the store has not got of one spool.

    Args:
        path: the spool, which may not exist yet.
        first_step: optimizer step that the attempt goes on from; None where it is not known, or was told before.
        read_only: only to count what is left: how far it was delivered is not written down.

    Attributes:
        over: whether nothing more will be written to the spool.
    """

    def __init__(self, path: Path, *, first_step: int | None = None, read_only: bool = False) -> None:
        self.path = path
        self._read_only = read_only
        self._mark = path.with_suffix(_MARK)
        self._delivered = _read(self._mark)
        self.over = self._delivered.whole or self._delivered.ended is not None
        self._scan = SpoolReader(path, start=self._delivered.own)
        if first_step is not None and first_step > self._delivered.covered:
            self._note(covered=first_step)

    def end(self, *, begun_again_at: int | None) -> None:
        """There is a later attempt.

        Args:
            begun_again_at: step that it goes on from, None where it is not known: what comes after it is done again.
        """
        self.over = True
        if begun_again_at is None:
            return
        known = self._delivered
        ended = begun_again_at if known.ended is None else min(known.ended, begun_again_at)
        # More may be safe than it seemed: a writer was killed before it told of its last checkpoint.
        self._look_again(ended > known.safe_step)
        self._note(ended=ended)

    def finish(self, *, well: bool) -> None:
        """Nothing more will be written.

        Args:
            well: no step of it will be done again.
        """
        self.over = True
        if well and self._delivered.ended is None and not self._delivered.whole:
            self._look_again(True)
            self._note(whole=True)

    def deliver_own(self, send: Callable[[list[Point]], None]) -> bool:
        """Send the next safe points for the run's own keys; False when there are none.

        Args:
            send: takes the points; what it raises is raised.
        """
        self._look_for_checkpoints()
        safe_step, start = self._delivered.safe_step, self._delivered.own
        points, end, passed_over = [], start, self._delivered.passed_over
        for line in SpoolReader(self.path, start=start).read_lines(CHUNK_BYTES):
            found = list(_points(line.content))
            if found and found[0].step > safe_step:
                if not self.over:
                    break
                passed_over = end if passed_over is None else passed_over
                found = []
            points += found
            end = line.end
        if end == start:
            return False
        if points:
            send(points)
        self._note(own=end, passed_over=passed_over)
        return True

    def deliver_live(self, send: Callable[[list[Point]], None]) -> bool:
        """Send the next points whose steps are not safe yet; False when there are none.

        Args:
            send: takes the points, whose keys begin with `live/`; what it raises is raised.
        """
        if self._delivered.whole:
            return False
        # Until the attempt is over, what lies before `own` is safe.
        start = self._delivered.live if self.over else max(self._delivered.live, self._delivered.own)
        lines = SpoolReader(self.path, start=start).read_lines(CHUNK_BYTES)
        if not lines:
            return False
        points = self._unsafe(lines)
        if points:
            send(points)
        self._note(live=lines[-1].end)
        return True

    def count(self, is_new: Callable[[Point], bool]) -> int:
        """How many points are left to be sent.

        Args:
            is_new: whether the run's own key does not have a point.
        """
        self._look_for_checkpoints()
        left, known = 0, self._delivered
        for line in self._lines(known.own):
            left += sum(point.step <= known.safe_step and is_new(point) for point in _points(line.content))
        if known.whole:
            return left
        return left + sum(len(self._unsafe([line])) for line in self._lines(known.live))

    def damaged(self) -> int:
        """How many lines were altered, or cut when their writer was killed."""
        reader = SpoolReader(self.path)
        while reader.read_lines(CHUNK_BYTES):
            pass
        return reader.damaged + (self.over and reader.cut_at_end())

    def _look_for_checkpoints(self) -> None:
        covered = self._delivered.covered
        while lines := self._scan.read_lines(CHUNK_BYTES):
            covered = max([covered, *(step for line in lines for step in _checkpoint(line.content))])
        if covered != self._delivered.covered:
            self._note(covered=covered)

    def _look_again(self, more_is_safe: bool) -> None:
        if more_is_safe and self._delivered.passed_over is not None:
            self._note(own=self._delivered.passed_over, passed_over=None)

    def _unsafe(self, lines: list[Line]) -> list[Point]:
        safe_step = self._delivered.safe_step
        found = (point for line in lines for point in _points(line.content))
        return [replace(point, key=f"{LIVE}{point.key}") for point in found if point.step > safe_step]

    def _lines(self, start: int) -> Iterator[Line]:
        reader = SpoolReader(self.path, start=start)
        while lines := reader.read_lines(CHUNK_BYTES):
            yield from lines

    def _note(self, **changes: Any) -> None:
        self._delivered = replace(self._delivered, **changes)
        if self._read_only:
            return
        temporary = self._mark.with_suffix(".delivered-tmp")
        # Without it points are sent twice, which the store is asked about before, or does not mind.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(self._delivered)), encoding="ascii")
            os.replace(temporary, self._mark)


def backlogs(folder: Path, *, read_only: bool = False) -> list[Backlog]:
    """The spools of a run, in the order of its attempts.

    Args:
        folder: of the run.
        read_only: only to count what is left.
    """
    paths = [path for path in folder.glob("attempts/*/spool-*.jsonl") if path.parent.name.isdecimal()]
    paths.sort(key=lambda path: (int(path.parent.name), path.name))
    return [Backlog(path, read_only=read_only) for path in paths]


def _points(content: Mapping[str, Any] | None) -> Iterator[Point]:
    from forgeline.tracking.tracker import Point

    # What says something else holds no points.
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        if content is not None and content["kind"] == "metrics":
            step, moment = int(content["step"]), int(content["time"])
            for key, value in content["values"].items():
                yield Point(key=key, value=float(value), step=step, time_ms=moment)


def _checkpoint(content: Mapping[str, Any] | None) -> Iterator[int]:
    """The step of a checkpoint that a line tells of."""
    if content is not None and content.get("event") == "checkpoint" and isinstance(content.get("step"), int):
        yield content["step"]


def _read(mark: Path) -> Delivered:
    try:
        known = json.loads(mark.read_text(encoding="ascii"))
        # Forgeline 0.1.0 wrote a number, and sent everything to the own keys.
        return Delivered(own=known, live=known) if isinstance(known, int) else Delivered(**known)
    except (OSError, ValueError, TypeError):
        return Delivered()
