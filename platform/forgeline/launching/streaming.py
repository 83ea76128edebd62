"""The driver's ear: follows the workers' spool files, passes their events on, and has their points delivered to MLflow.

The spool on disk is the record, MLflow gets batches while it answers. An outage of MLflow costs the run nothing: what
could not be delivered stays in the spool, and the run says so at its end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.launching.delivery import Delivery
from forgeline.launching.events import EventLog

if TYPE_CHECKING:
    from forgeline.tracking.spool import SpoolReader
    from forgeline.tracking.tracker import Tracker

_POLL_S = 0.1
_TELL_EVERY_S = 2.0


class SpoolStream:
    """Follows any number of spool files in a thread of its own until `close`.

    Args:
        tracker: the MLflow store.
        run_id: the run that points belong to.
        folder: of the run; what earlier executions left there is delivered as well.
        events: where workers' events go.
        on_metrics: gets the newest validation metrics and training loss, now and then, while the run goes on.
        progressed: called when something was measured that a loop at rest does not measure.
    """

    def __init__(
        self,
        *,
        tracker: Tracker,
        run_id: str,
        folder: Path,
        events: EventLog,
        on_metrics: Callable[[Mapping[str, float]], None] = lambda metrics: None,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._events = events
        self._on_metrics = on_metrics
        self._progressed = progressed
        self._told: dict[str, float] = {}
        self._tell_at = 0.0
        self._readers: list[SpoolReader] = []
        self._closing = threading.Event()
        self._trouble: str | None = None
        self.last_metrics: dict[str, float] = {}
        self.last_step: int | None = None
        """The last step told by the spool that is followed since last: that of the newest attempt."""
        self._delivery = Delivery(tracker, run_id, folder)
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def watch(self, path: Path, first_step: int | None = None) -> None:
        """Follow one more file, which may not exist yet.

        Args:
            first_step: optimizer step that its attempt goes on from; None where it is not known.
        """
        from forgeline.tracking.spool import SpoolReader

        self.last_step = None
        self._readers.append(SpoolReader(path))
        self._delivery.begin(path, first_step=first_step)

    def close(self, *, within_s: float, well: bool) -> str | None:
        """Read and deliver the rest; returns a sentence when something was lost, or not delivered in time.

        Args:
            well: the last attempt succeeded.
        """
        self._closing.set()
        undelivered = self._delivery.close(within_s=within_s, well=well)
        self._thread.join(within_s)
        if self._thread.is_alive():
            self._trouble = "reading its spool takes too long"
        unread = f"some of the run's progress was not shown ({self._trouble})" if self._trouble else None
        return "; ".join(text for text in (undelivered, unread, self._damage()) if text) or None

    def _damage(self) -> str | None:
        lines = sum(reader.damaged + reader.cut_at_end() for reader in self._readers)
        return told_damage(lines) if lines else None

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(_POLL_S)
            for reader in list(self._readers):
                self._read(reader)
            self._tell()

    def _read(self, reader: SpoolReader) -> None:
        with self._noting_trouble():
            for line in reader.read_new():
                with self._noting_trouble():
                    self._take(line, newest=reader is self._readers[-1])

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        """A full disk, or one that fails for a moment, must not end the thread."""
        try:
            yield
        except Exception as error:
            self._trouble = f"{type(error).__name__}: {error}"

    def _take(self, line: Mapping[str, Any], *, newest: bool) -> None:
        if line.get("kind") == "metrics":
            if newest and line["step"]:
                self.last_step = max(self.last_step or 0, int(line["step"]))
            self._note_progress(line["values"])
            self.last_metrics.update({key: value for key, value in line["values"].items() if _in_summary(key)})
        elif line.get("kind") == "event":
            fields = {key: value for key, value in line.items() if key not in ("kind", "event", "time")}
            self._events.emit(str(line["event"]), **fields)

    def _note_progress(self, values: Mapping[str, float]) -> None:
        # The load of the machine is measured all the time, whatever the loop does.
        if any(not key.startswith("system/") for key in values):
            self._progressed()

    def _tell(self) -> None:
        if self.last_metrics == self._told or time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + _TELL_EVERY_S
        told = dict(self.last_metrics)
        # Told again later, with what is newest then.
        with contextlib.suppress(Exception):
            self._on_metrics(told)
            self._told = told


def told_damage(lines: int) -> str:
    """That what some lines said is lost."""
    return (
        f"{lines} {'line' if lines == 1 else 'lines'} of the spool cannot be read (altered, or cut when the writer was "
        "killed); what they said is missing in the tracking store"
    )


def _in_summary(key: str) -> bool:
    """Whether a metric tells how good the model is, as opposed to how training goes."""
    return key.startswith("val/") or key == "train/loss"
