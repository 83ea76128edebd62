"""Afterwards: what the tracking store did not get of runs that ended, since it was away or their drivers died."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.errors import ForgelineError, NotFinished, NotFound
from forgeline.launching.recording import flatten
from forgeline.launching.series import Series
from forgeline.ledger.states import FINAL, State
from forgeline.masking import masked
from forgeline.paths import RunPaths
from forgeline.spec.source import read_document
from forgeline.tracking.names import STATE_TAG

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord
    from forgeline.tracking.tracker import Tracker

_ABANDONED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What became of the points of a run that had ended.

    Attributes:
        sent: points that the store took now.
        left: points that it did not take.
        damaged: lines of the spools that cannot be read.
        error: why it did not take all.
    """

    sent: int
    left: int
    damaged: int
    error: str | None = None


def replay(tracker: Tracker, read: Callable[[], RunRecord], folder: Path) -> Replay:
    """Send what the store has not got of a run that ended: points, how it ended, its parameters where it has none.

    Args:
        read: gives what the ledger knows of the run, now: it may be resumed while its points are sent.
        folder: of the run.

    Raises:
        NotFinished: it goes on.
        NotFound: the store does not know the run: it was deleted there, or is tracked in another one.
    """
    record = _ended(read())
    series, error = Series(tracker, record.id, folder), None
    series.finish(well=record.state == State.SUCCEEDED)
    try:
        series.deliver(unless=lambda: not read().is_final)
        _tell_end(tracker, record, read)
    except (NotFinished, NotFound):
        raise
    except ForgelineError as refusal:
        error = str(refusal)
    left = series.left()
    # Told at the end of the run already; it takes reading all again.
    damaged = series.damaged() if series.sent or left else 0
    return Replay(sent=series.sent, left=left, damaged=damaged, error=error)


def _tell_end(tracker: Tracker, record: RunRecord, read: Callable[[], RunRecord]) -> None:
    tracked = tracker.get(record.id)
    if not tracked.params:
        tracker.log_params(record.id, dict(flatten(masked(read_document(record.spec).data))))
    # All that took its time, and whoever resumed the run meanwhile has told the store that it goes on.
    record = _ended(read())
    told = tracked.status != "RUNNING"
    if told and tracked.tags.get(STATE_TAG, record.state) == record.state:
        return
    if told:
        # It was resumed and ended while the store was away.
        tracker.reopen(record.id)
    tracker.finish(record.id, record.state, reason=record.reason)


def _ended(record: RunRecord) -> RunRecord:
    if not record.is_final:
        raise NotFinished(f"run {record.id} is {record.state}; its driver sends its points while it goes on")
    return record


def finish_abandoned(ledger: Ledger, tracker: Tracker, home: Path) -> None:
    """Do the same for runs that still seem to go on in the store. The newest few are looked at: every driver does it.

    Args:
        home: FORGELINE_HOME.
    """
    for record in ledger.list_runs(state=FINAL, parts=True, limit=_ABANDONED, elsewhere=False):
        try:
            running = tracker.get(record.id).status == "RUNNING"
        except NotFound:
            # Deleted there, or tracked in another store.
            continue
        if running:
            # It may have been resumed since it was listed.
            with contextlib.suppress(NotFinished):
                replay(tracker, partial(ledger.get, record.id), RunPaths(home, record.id).root)
