"""The series of a run in MLflow: every point once, in order, whatever was killed in between.

- Spools are delivered in the order of their attempts, each to its end before the next one.
- An own key takes a step only after those that it has. Which those are, the store itself is asked, before the first
  point and after each failure: a process may have been killed, or a connection broken, between sending and noting it.
- What is sent again all the same is equal in key, step, time and value, and MLflow keeps one of such points.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.launching.backlog import Backlog, backlogs
from forgeline.tracking.names import tracked_key

if TYPE_CHECKING:
    from forgeline.tracking.tracker import Point, Tracker


class Series:
    """Brings the points of one run's spools to the store.

    Args:
        tracker: the MLflow store.
        run_id: the run that points belong to.
        folder: of the run, whose earlier attempts may have left points.
        read_only: only to count what is left, beside another process or thread that delivers: nothing is noted on disk.

    Attributes:
        sent: points sent so far.
    """

    def __init__(self, tracker: Tracker, run_id: str, folder: Path, *, read_only: bool = False) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._read_only = read_only
        self._backlogs = backlogs(folder, read_only=read_only)
        self._reached: dict[str, int] | None = None
        self.sent = 0

    def begin(self, path: Path, *, first_step: int | None) -> None:
        """Deliver one more spool, which may not exist yet.

        Args:
            first_step: optimizer step that its attempt goes on from; None where it is not known.
        """
        others = [backlog for backlog in self._backlogs if backlog.path != path]
        for backlog in others:
            if backlog.path.parent != path.parent:
                backlog.end(begun_again_at=first_step)
        self._backlogs = [*others, Backlog(path, first_step=first_step, read_only=self._read_only)]

    def finish(self, *, well: bool) -> None:
        """No spool gets longer.

        Args:
            well: the last attempt succeeded.
        """
        last = self._backlogs[-1].path.parent if self._backlogs else None
        for backlog in self._backlogs:
            backlog.finish(well=well and backlog.path.parent == last)

    def deliver(self, *, unless: Callable[[], bool] = lambda: False) -> bool:
        """Send what can be sent by now, safe points first.

        Args:
            unless: whether to stop, asked between two batches.

        Returns:
            Whether everything was sent.

        Raises:
            TrackingError: the store did not take it.
        """
        while not unless():
            # Points that are only for looking on wait for those that stay.
            own = any(backlog.deliver_own(self._send_own) for backlog in self._backlogs)
            if not own and not any(backlog.deliver_live(self._send) for backlog in self._backlogs):
                return True
        return False

    def left(self) -> int:
        """How many points were not sent."""
        return sum(backlog.count(self._is_new) for backlog in self._backlogs)

    def damaged(self) -> int:
        """How many lines of the spools are damaged."""
        return sum(backlog.damaged() for backlog in self._backlogs)

    def _send_own(self, points: list[Point]) -> None:
        if self._reached is None:
            self._reached = self._tracker.last_steps(self._run_id)
        reached, new = dict(self._reached), []
        for point in points:
            key = tracked_key(point.key)
            if point.step > reached.get(key, -1):
                reached[key] = point.step
                new.append(point)
        try:
            self._send(new)
        except BaseException:
            # Some of it may have arrived.
            self._reached = None
            raise
        self._reached = reached

    def _send(self, points: list[Point]) -> None:
        if points:
            self._tracker.log_points(self._run_id, points)
            self.sent += len(points)

    def _is_new(self, point: Point) -> bool:
        return self._reached is None or point.step > self._reached.get(tracked_key(point.key), -1)
