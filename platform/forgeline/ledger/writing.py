"""What is written to the ledger, one transaction each. A method tells whether (or what) it changed, its caller judges.

A transition is one statement, `UPDATE … WHERE state IN (the legal ones)`: of two processes that would end a run, one
wins and the other is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from forgeline.ledger import driver_process
from forgeline.ledger.once import ONCE, refuse_again
from forgeline.ledger.opening import Database
from forgeline.ledger.records import DRIVER, RunRecord
from forgeline.ledger.rows import plain
from forgeline.ledger.sql_reading import now_sql
from forgeline.ledger.states import ACTIVE, FINAL, RESUMABLE, Reason, State, sources
from forgeline.ledger.tables import attempts, journal, runs


class LedgerWriter:
    """Writes runs, attempts and journals.

    Args:
        database: with this version's tables.

    Raises:
        LedgerError: every method raises it when the database does not answer or refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Give back the connections."""
        self._database.close()

    def create_run(self, row: Mapping[str, Any], *, host: str | None, pid: int | None) -> None:
        """Insert a run in state `queued`; one that is to be begun once is refused with AlreadyBegun the second time."""
        now = datetime.now(UTC)
        empty: dict[str, Any] = {"attempts": 0, "metrics": {}, "result": {}}
        fields = {"state": State.QUEUED, "created": now, "submitted": now, **empty, **_driver(host, pid)}
        with self._database.writing() as connection:
            if (once := row.get("labels", {}).get(ONCE)) is not None:
                refuse_again(connection, once)
            leased = {} if pid is None else {"lease_count": 0, "lease_renewed": _now(connection)}
            connection.execute(sa.insert(runs).values({**fields, **leased, **row}))

    def transition(
        self,
        run_id: str,
        target: State,
        reason: Reason | None,
        message: str | None,
        *,
        also: Mapping[str, Any] | None = None,
        owner: RunRecord | None = None,
    ) -> bool:
        """Move a run, from a state that allows it; a final one closes its open attempts too.

        Args:
            also: further columns to write with it.
            owner: move it only while its driver is still the one that this record names, and has not renewed its lease.
        """
        now = datetime.now(UTC)
        values: dict[str, Any] = {"state": target, "reason": reason, "message": message, **plain(also or {})}
        owned = [] if owner is None else [*_owned(owner), runs.c.lease_count.is_not_distinct_from(owner.lease_count)]
        if target is State.RUNNING:
            values["started"] = sa.func.coalesce(runs.c.started, now)
        if target is State.QUEUED:
            values["submitted"] = now
        if target in FINAL:
            values["ended"] = now
        with self._database.writing() as connection:
            moved = connection.execute(
                sa.update(runs).where(runs.c.id == run_id, runs.c.state.in_(sources(target)), *owned).values(values)
            )
            if moved.rowcount and target in FINAL:
                ended = now if owner is None else _last_sign(owner, now)
                connection.execute(
                    sa.update(attempts)
                    .where(attempts.c.run_id == run_id, attempts.c.ended.is_(None))
                    .values(
                        ended=sa.case((attempts.c.started > ended, attempts.c.started), else_=ended),
                        outcome=target,
                        reason=reason,
                        message=message,
                    )
                )
        return bool(moved.rowcount)

    def resume(
        self,
        run_id: str,
        changed: Mapping[str, Any],
        *,
        host: str | None,
        pid: int | None,
        states: Collection[State] = RESUMABLE,
    ) -> bool:
        """Put a run that ended in one of these states into the queue again, with what changed of what was asked for."""
        values = {
            **changed,
            "state": State.QUEUED,
            "submitted": datetime.now(UTC),
            **dict.fromkeys(("reason", "message", "ended", "cancel_requested", "gpus")),
            **_driver(host, pid),
        }
        with self._database.writing() as connection:
            values |= {"lease_count": 0, "lease_renewed": _now(connection)}
            where = (runs.c.id == run_id, runs.c.state.in_(states))
            return bool(connection.execute(sa.update(runs).where(*where).values(values)).rowcount)

    def renew_lease(self, owner: RunRecord) -> bool:
        """Count up the lease of an active run; False when it has ended, or has another driver."""
        with self._database.writing() as connection:
            values = {"lease_count": sa.func.coalesce(runs.c.lease_count, 0) + 1, "lease_renewed": _now(connection)}
            where = (runs.c.id == owner.id, runs.c.state.in_(ACTIVE), *_owned(owner))
            return bool(connection.execute(sa.update(runs).where(*where).values(values)).rowcount)

    def prove_writable(self) -> None:
        """Take the turn to write, and change nothing."""
        with self._database.writing() as connection:
            connection.execute(sa.update(runs).where(sa.false()).values(lease_count=runs.c.lease_count))

    def request_cancel(self, run_id: str) -> bool:
        """Leave the wish that an active run should stop."""
        values = {"cancel_requested": sa.func.coalesce(runs.c.cancel_requested, datetime.now(UTC))}
        return self._update(values, runs.c.id == run_id, runs.c.state.in_(ACTIVE))

    def update_metrics(self, run_id: str, metrics: Mapping[str, float], *, replace: bool) -> bool:
        """Merge into the summary metrics, or replace them."""
        with self._database.writing() as connection:
            query = sa.select(runs.c.metrics).where(runs.c.id == run_id).with_for_update()
            known = connection.execute(query).scalar_one_or_none()
            if known is None:
                return False
            merged = {**({} if replace else known), **plain(metrics)}
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(metrics=merged))
        return True

    def set_result(self, run_id: str, result: Mapping[str, Any]) -> bool:
        """Replace the result."""
        return self._update({"result": plain(result)}, runs.c.id == run_id)

    def start_attempt(self, run_id: str, cause: str, first_step: int | None) -> int | None:
        """Open the next attempt of an active run; None when there is no such run."""
        now = datetime.now(UTC)
        with self._database.writing() as connection:
            # The update takes the row's lock, so that two callers never get the same number.
            counted = connection.execute(
                sa.update(runs)
                .where(runs.c.id == run_id, runs.c.state.in_(ACTIVE))
                .values(attempts=runs.c.attempts + 1, started=sa.func.coalesce(runs.c.started, now))
            )
            if not counted.rowcount:
                return None
            number = int(connection.execute(sa.select(runs.c.attempts).where(runs.c.id == run_id)).scalar_one())
            row = {"run_id": run_id, "number": number, "cause": cause, "started": now, "first_step": first_step}
            connection.execute(sa.insert(attempts).values(row))
        return number

    def describe_attempt(self, run_id: str, number: int, told: Mapping[str, Any]) -> bool:
        """Replace what an attempt says."""
        where = (attempts.c.run_id == run_id, attempts.c.number == number)
        with self._database.writing() as connection:
            return bool(connection.execute(sa.update(attempts).where(*where).values(dict(told))).rowcount)

    def end_attempt(self, run_id: str, number: int, told: Mapping[str, Any]) -> bool:
        """Close an attempt; what it says already stays."""
        fields = {"ended": datetime.now(UTC), **told}
        values = {key: sa.func.coalesce(attempts.c[key], value) for key, value in fields.items() if value is not None}
        with self._database.writing() as connection:
            closed = connection.execute(
                sa.update(attempts).where(attempts.c.run_id == run_id, attempts.c.number == number).values(values)
            )
        return bool(closed.rowcount)

    def append_to_journal(self, owner: RunRecord, number: int, entries: Sequence[Mapping[str, Any]]) -> bool:
        """Append entries from this number on, all or none; False when the run has ended, or has another driver."""
        now = datetime.now(UTC)
        rows = [
            {"run_id": owner.id, "number": number + later, "written": now, "entry": plain(entry)}
            for later, entry in enumerate(entries)
        ]
        with self._database.writing() as connection:
            # The update takes the row's lock, so that no other driver takes the run over meanwhile.
            where = (runs.c.id == owner.id, runs.c.state.in_(ACTIVE), *_owned(owner))
            if not connection.execute(sa.update(runs).where(*where).values(lease_count=runs.c.lease_count)).rowcount:
                return False
            connection.execute(sa.insert(journal), rows)
        return True

    def _update(self, values: Mapping[str, Any], *conditions: sa.ColumnElement[bool]) -> bool:
        with self._database.writing() as connection:
            return bool(connection.execute(sa.update(runs).where(*conditions).values(values)).rowcount)


def _driver(host: str | None, pid: int | None) -> dict[str, Any]:
    here = host == driver_process.this_host()
    started = driver_process.started_s(pid) if here and pid is not None else None
    machine = driver_process.this_machine() if here and pid is not None else None
    return {"driver_host": host, "driver_pid": pid, "driver_started_s": started, "driver_machine": machine}


def _last_sign(owner: RunRecord, now: datetime) -> datetime:
    """When a driver that died was last heard of; the attempt was not under way until somebody looked."""
    if owner.lease_renewed is None:
        return now
    return min(now, datetime.fromtimestamp(owner.lease_renewed, UTC))


def _owned(owner: RunRecord) -> list[sa.ColumnElement[bool]]:
    return [runs.c[key].is_not_distinct_from(getattr(owner, key)) for key in DRIVER]


def _now(connection: sa.Connection) -> float:
    """The time by the database's clock, which all hosts share, in seconds since 1970."""
    return float(connection.execute(sa.text(now_sql(connection.dialect.name))).scalar_one())
