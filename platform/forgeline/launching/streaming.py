"""The driver's ear: follows the workers' spool files, ships points to MLflow, passes their events on.

The spool on disk is the record, MLflow gets batches while it answers. An outage of MLflow costs the run nothing: what
could not be delivered stays in the spool, and the run says so at its end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError
from forgeline.launching.events import EventLog

if TYPE_CHECKING:
    from forgeline.tracking.spool import SpoolReader
    from forgeline.tracking.tracker import Tracker

_POLL_S = 0.1
_SHIP_EVERY_S = 1.0
_TELL_EVERY_S = 2.0
_BATCH = 1000
_BACK_OFF_LIMIT_S = 30.0


class SpoolStream:
    """Follows any number of spool files in a thread of its own until `close`.

    Args:
        tracker: the MLflow store.
        run_id: the run that points belong to.
        events: where workers' events go.
        on_metrics: gets the newest validation metrics and training loss, now and then, while the run goes on.
    """

    def __init__(
        self,
        *,
        tracker: Tracker,
        run_id: str,
        events: EventLog,
        on_metrics: Callable[[Mapping[str, float]], None] = lambda metrics: None,
    ) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._events = events
        self._on_metrics = on_metrics
        self._told: dict[str, float] = {}
        self._tell_at = 0.0
        self._readers: list[SpoolReader] = []
        self._waiting: list[Any] = []
        self._ship_at = 0.0
        self._back_off_s = _SHIP_EVERY_S
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._trouble: str | None = None
        self.last_metrics: dict[str, float] = {}
        self.last_step = 0
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def watch(self, path: Path) -> None:
        """Follow one more file, which may not exist yet."""
        from forgeline.tracking.spool import SpoolReader

        self._readers.append(SpoolReader(path))

    def close(self, *, within_s: float) -> str | None:
        """Read and ship the rest; returns a sentence when something could not be delivered in time."""
        self._give_up_at = time.monotonic() + within_s
        self._closing.set()
        self._thread.join(within_s + 1.0)
        left = len(self._waiting)
        if not left:
            return None
        return (
            f"{left} metric points could not be delivered to the tracking store ({self._trouble or 'it is too slow'}); "
            "they are kept in the run's folder, in attempts/*/spool-0.jsonl"
        )

    def _run(self) -> None:
        while not self._closing.wait(_POLL_S):
            self._read()
            self._tell()
            if time.monotonic() >= self._ship_at:
                self._ship()
        self._read()
        while self._waiting and time.monotonic() < self._give_up_at:
            if not self._ship():
                time.sleep(min(self._back_off_s, max(0.0, self._give_up_at - time.monotonic())))

    def _read(self) -> None:
        for reader in list(self._readers):
            for line in reader.read_new():
                self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        from forgeline.tracking.tracker import Point

        if line.get("kind") == "metrics":
            step, moment, values = int(line["step"]), int(line["time"]), line["values"]
            self.last_step = max(self.last_step, step)
            self.last_metrics.update({key: value for key, value in values.items() if _in_summary(key)})
            self._waiting += [Point(key=key, value=value, step=step, time_ms=moment) for key, value in values.items()]
        elif line.get("kind") == "event":
            fields = {key: value for key, value in line.items() if key not in ("kind", "event", "time")}
            self._events.emit(str(line["event"]), **fields)

    def _tell(self) -> None:
        if self.last_metrics == self._told or time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + _TELL_EVERY_S
        told = dict(self.last_metrics)
        # Told again later, with what is newest then.
        with contextlib.suppress(ForgelineError):
            self._on_metrics(told)
            self._told = told

    def _ship(self) -> bool:
        """Send what is waiting, in batches; a refusal is tried again later, ever more rarely."""
        try:
            while self._waiting:
                batch = self._waiting[:_BATCH]
                self._tracker.log_points(self._run_id, batch)
                del self._waiting[: len(batch)]
        except Exception as error:
            self._trouble = str(error)
            self._back_off_s = min(self._back_off_s * 2, _BACK_OFF_LIMIT_S)
            self._ship_at = time.monotonic() + self._back_off_s
            return False
        self._trouble, self._back_off_s = None, _SHIP_EVERY_S
        self._ship_at = time.monotonic() + _SHIP_EVERY_S
        return True


def _in_summary(key: str) -> bool:
    """Whether a metric tells how good the model is, as opposed to how training goes."""
    return key.startswith("val/") or key == "train/loss"
