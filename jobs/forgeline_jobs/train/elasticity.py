"""A number of workers that follows the cluster: as many of a range as there is room for, more when nodes come.

A worker group does not change while it trains. It is asked to write a checkpoint and to end, as when a run is
cancelled, and the next attempt goes on from there with another number; the global batch stays what it is.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from forgeline.errors import RunCancelled
from forgeline_jobs.train import heartbeat, nodes
from forgeline_jobs.train.places import free_rooms, per_worker

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources

POLL_S = 1.0
# Ray gives back what a worker group held a moment after it ended, and a node's death takes it longer to notice.
SETTLE_S = 10.0
GROW_AFTER_S = 15.0
GROW_AFTER_LIMIT_S = 900.0


def room(resources: Resources, *, asks_nodes: bool) -> int:
    """Workers that there is room for now, on nodes that stay.

    Args:
        resources: of a worker.
        asks_nodes: whether each node is asked if it lives, which Ray may not have noticed.
    """
    found = free_rooms(per_worker(resources), without=nodes.draining())
    return sum(workers for node, workers in found.items() if not asks_nodes or nodes.answers(node))


def wait_for_room(
    resources: Resources,
    counts: Sequence[int],
    *,
    settles: bool,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """The largest of the numbers of workers that there is room for, once there is room for the smallest.

    Args:
        resources: of a worker.
        counts: to choose from, smallest first.
        settles: whether an attempt has just ended, so that more room may turn up within moments.
        stopped: whether the run was asked to stop.
        say: told once, in words, what is waited for.

    Raises:
        RunCancelled: the run was asked to stop.
    """
    until, told = time.monotonic() + (SETTLE_S if settles else 0.0), False
    while True:
        there = room(resources, asks_nodes=settles)
        fitting = [count for count in counts if count <= there]
        if fitting and (fitting[-1] == counts[-1] or time.monotonic() >= until):
            return fitting[-1]
        if not fitting and not told and time.monotonic() >= until:
            told = True
            say(f"waiting for room for {counts[0]} workers; there is room for {there}")
        if stopped():
            raise RunCancelled("stopped while it waited for room")
        time.sleep(POLL_S)


class Growth:
    """While it is entered, looks for room for more workers than an attempt has, and asks it to end where there is.

    Args:
        folder: of the attempt.
        resources: of a worker.
        now: workers that the attempt has.
        counts: that the run can have, smallest first.
        first_step: optimizer step that the attempt goes on from.
        after_s: how long there must be room, and the attempt must train, before it is asked.
        ask: makes the workers write a checkpoint and end.

    Attributes:
        asked_for: workers that it asked for; None where it did not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resources: Resources,
        now: int,
        counts: Sequence[int],
        first_step: int,
        after_s: float,
        ask: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._resources = resources
        self._now = now
        self._larger = [count for count in counts if count > now]
        self._first_step = first_step
        self._after_s = after_s
        self._ask = ask
        self._since: float | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="growth", daemon=True)
        self.asked_for: int | None = None

    def __enter__(self) -> Self:
        if self._larger:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._larger:
            self._thread.join(2 * POLL_S)

    def _run(self) -> None:
        while self.asked_for is None and not self._leaving.wait(POLL_S):
            try:
                self.look(time.monotonic())
            except Exception:
                # A cluster that does not answer for a moment must not end the watch.
                traceback.print_exc(file=sys.stderr)

    def look(self, now: float) -> None:
        """Look once."""
        if not self._trains():
            return
        there = self._now + room(self._resources, asks_nodes=False)
        fitting = [count for count in self._larger if count <= there]
        if not fitting:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= self._after_s:
            self.asked_for = fitting[-1]
            self._ask()

    def _trains(self) -> bool:
        """Whether each worker has taken a step: to end before that would cost the start and gain nothing."""
        beats = heartbeat.read_all(self._folder).values()
        return len(beats) == self._now and all(not beat.done and beat.step > self._first_step for beat in beats)
