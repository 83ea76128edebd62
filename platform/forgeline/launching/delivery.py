"""Delivery of spooled points to MLflow, in a thread of its own: a store that hangs holds up nothing else.

What waits, waits on disk: an outage costs no memory. While the thread lives, only it touches the series and notes on
disk what was delivered; whoever else counts reads the notes.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.launching.series import Series

if TYPE_CHECKING:
    from forgeline.tracking.tracker import Tracker

_SHIP_EVERY_S = 1.0
_BACK_OFF_LIMIT_S = 30.0


class Delivery:
    """Delivers any number of spools until `close`.

    Args:
        tracker: the MLflow store.
        run_id: the run that points belong to.
        folder: of the run, whose earlier attempts may have left points.
    """

    def __init__(self, tracker: Tracker, run_id: str, folder: Path) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._folder = folder
        self._series = Series(tracker, run_id, folder)
        # It only grows: whoever reads it takes nothing from another reader.
        self._begun: list[tuple[Path, int | None]] = []
        self._taken = 0
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._well = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def begin(self, path: Path, *, first_step: int | None = None) -> None:
        """Deliver one more spool, which may not exist yet.

        Args:
            first_step: optimizer step that its attempt goes on from; None where it is not known.
        """
        self._begun.append((path, first_step))

    def close(self, *, within_s: float, well: bool) -> str | None:
        """Deliver the rest; returns a sentence when something could not be delivered in time.

        Args:
            well: the last attempt succeeded: none of its steps will be done again.
        """
        self._well = well
        self._give_up_at = time.monotonic() + within_s
        self._closing.set()
        self._thread.join(within_s + 1.0)
        # It may wait for the store, and this process for nobody.
        left = (self._as_noted() if self._thread.is_alive() else self._series).left()
        if not left:
            return None
        return (
            f"{left} metric points did not reach the tracking store ({self._trouble or 'it is too slow'}); they are "
            f"kept in the run's folder, and `forgeline runs sync {self._run_id}` sends them"
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
        closing = self._closing.is_set()
        try:
            self._bring_up_to_date()
            self._series.deliver(unless=self._is_over if closing else self._closing.is_set)
        except Exception as error:
            self._trouble = str(error)
            return False
        self._trouble = None
        return True

    def _is_over(self) -> bool:
        return time.monotonic() >= self._give_up_at

    def _bring_up_to_date(self) -> None:
        for path, first_step in self._begun[self._taken :]:
            self._series.begin(path, first_step=first_step)
            self._taken += 1
        if self._closing.is_set():
            self._series.finish(well=self._well)

    def _as_noted(self) -> Series:
        """What the thread has noted so far, for counting."""
        series = Series(self._tracker, self._run_id, self._folder, read_only=True)
        for path, first_step in list(self._begun):
            series.begin(path, first_step=first_step)
        series.finish(well=self._well)
        return series
