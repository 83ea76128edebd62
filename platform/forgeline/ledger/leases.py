"""Leases: how a run whose driver is out of sight is found dead, and a living one never taken for it.

- A driver counts up its run's lease every 10 s and writes the time of the database's own clock beside it. One that was
  not renewed for 45 s only *looks* dead: clocks jump, and a database that was locked let nobody renew.
- So a look writes to the database first, which proves that it takes writes, and then waits 12 s of its own monotonic
  clock. Only a lease that was not renewed meanwhile is over: looking closes a run within a minute of its death.
- A driver of this machine needs no lease: its process is there, or it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forgeline.ledger import driver_process

if TYPE_CHECKING:
    from forgeline.ledger.records import RunRecord

RENEW_EVERY_S = 10.0
LOOKS_DEAD_AFTER_S = 45.0
CONFIRMED_AFTER_S = 12.0
_TRUSTED_S = 60.0


def is_dead_here(record: RunRecord) -> bool | None:
    """Whether the driver of an active run is gone, by its process; None when that is not a process of this machine."""
    if record.driver_pid is None or record.driver_host is None:
        # Nobody has said whose it is.
        return False
    here = (
        record.driver_host == driver_process.this_host()
        if record.driver_machine is None
        else record.driver_machine == driver_process.this_machine()
    )
    if not here:
        return None if record.lease_count is not None else False
    return not driver_process.is_alive(record.driver_pid, record.driver_started_s)


class LeaseLook:
    """Looks at leases of drivers elsewhere.

    Args:
        read: gives the run of an id as it is now.
        now: asks the database for its time, in seconds since 1970.
        prove_writable: writes to the database, changing nothing.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        *,
        read: Callable[[str], RunRecord],
        now: Callable[[], float],
        prove_writable: Callable[[], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._now = now
        self._prove_writable = prove_writable
        self._pause = pause
        self._trusted_until: dict[str, float] = {}

    def over(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Those whose lease is over, as they are now. It takes time only where one looks dead."""
        suspects = self._suspects(records)
        if not suspects:
            return []
        self._prove_writable()
        before = {record.id: record for record in map(self._read, [one.id for one in suspects])}
        self._pause(CONFIRMED_AFTER_S)
        after = [self._read(run_id) for run_id in before]
        dead = [record for record in after if not record.is_final and _same_lease(record, before[record.id])]
        ids = {record.id for record in dead}
        for record in suspects:
            if record.id not in ids:
                # Its clock differs, or the database was away: no further look for a while.
                self._trusted_until[record.id] = time.monotonic() + _TRUSTED_S
        return dead

    def _suspects(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        moment = time.monotonic()
        elsewhere = [one for one in records if is_dead_here(one) is None]
        untrusted = [one for one in elsewhere if self._trusted_until.get(one.id, 0.0) <= moment]
        if not untrusted:
            return []
        now = self._now()
        # A time that lies ahead is of a clock that was set back meanwhile, and says nothing.
        return [one for one in untrusted if abs(now - (one.lease_renewed or 0.0)) > LOOKS_DEAD_AFTER_S]


def _same_lease(one: RunRecord, other: RunRecord) -> bool:
    keys = ("lease_count", "driver_machine", "driver_pid", "submission_id")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
