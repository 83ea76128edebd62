"""The ledger: the authority on what runs exist and where they stand.

- Reading costs no import of SQLAlchemy where the ledger is SQLite: every listing of the command line reads.
- A run whose driver died is closed when somebody asks for it; no daemon is needed for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from forgeline.errors import LedgerError, NotFound, UsageError
from forgeline.ledger import leases, lookup
from forgeline.ledger.migrations import HEAD
from forgeline.ledger.records import AttemptRecord, RunRecord
from forgeline.ledger.rows import attempt_of, entry_of, run_of
from forgeline.ledger.sql_reading import SqlReader, sqlite_file
from forgeline.ledger.states import ACTIVE, FINAL, RESUMABLE, TRANSITIONS, IllegalTransition, Reason, State
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    from forgeline.ledger.writing import LedgerWriter

DRIVER_DIED = "the process that owned the run died without a word; driver.log in the run's folder may say more"
_SUGGESTED_FROM = 500


def open_ledger() -> Ledger:
    """The ledger of this installation's settings.

    Raises:
        LedgerError: it cannot be opened.
        UsageError: FORGELINE_HOME cannot be written.
    """
    from forgeline.settings import settings

    environment = settings()
    environment.ensure_home()
    return Ledger(environment.resolved_ledger_url)


class Ledger:
    """Runs and their attempts in a database. May be used from several threads and processes at once.

    Args:
        url: SQLAlchemy URL, of SQLite or PostgreSQL.

    Raises:
        LedgerError: the database cannot be opened; every method raises it when the database stops answering.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._reader = SqlReader(url)
        if not self._is_current():
            # Opening it for writing migrates it.
            _ = self.writer

    @cached_property
    def writer(self) -> LedgerWriter:
        """The part that writes."""
        from forgeline.ledger.opening import Database
        from forgeline.ledger.writing import LedgerWriter

        return LedgerWriter(Database(self._url))

    def close(self) -> None:
        """Give back the connections."""
        self._reader.close()
        if "writer" in self.__dict__:
            self.writer.close()

    def create_run(
        self,
        *,
        id: str,
        name: str,
        kind: str,
        spec: str,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        cluster: str | None = None,
        submission_id: str | None = None,
        parent: str | None = None,
        driver_host: str | None = None,
        driver_pid: int | None = None,
    ) -> RunRecord:
        """Write down a new run, in state `queued`.

        Args:
            id: its MLflow run id.
            spec: the resolved specification as YAML.
            cluster: address of the cluster that it is sent to; None for local Ray.
            submission_id: the Ray job that its driver is there.
            parent: the run that it is a part of, which holds its place in the queue.
            driver_host: host of the process that owns it.
            driver_pid: id of that process.

        Raises:
            AlreadyBegun: it has the label `forgeline.once`, and another run has the same.
            LedgerError: there is a run with this id.
        """
        row = {
            "id": id,
            "name": name,
            "kind": kind,
            "spec": spec,
            "priority": priority,
            "labels": dict(labels or {}),
            "cluster": cluster,
            "submission_id": submission_id,
            "parent": parent,
        }
        self.writer.create_run(row, host=driver_host, pid=driver_pid)
        return self._fetch(id)

    def transition(
        self,
        run_id: str,
        state: State | str,
        reason: Reason | str | None = None,
        message: str | None = None,
        *,
        gpus: Sequence[str] | None = None,
        metrics: Mapping[str, float] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Move a run to another state; a final one closes its open attempts too.

        Args:
            gpus: those that it holds from now on.
            metrics: its summary metrics, in place of those that it had.
            result: what its kind returned.

        Raises:
            IllegalTransition: the move is not legal from where the run stands now.
            NotFound: no such run.
        """
        target, why = State(state), Reason(reason) if reason is not None else None
        given = {"gpus": gpus, "metrics": None if metrics is None else dict(metrics), "result": result}
        also = {key: value for key, value in given.items() if value is not None}
        if not self.writer.transition(run_id, target, why, message or None, also=also):
            now = self._fetch(run_id).state
            allowed = ", ".join(sorted(TRANSITIONS[now])) or f"nothing, {now} is final"
            raise IllegalTransition(f"run {run_id} is {now} and cannot become {target}; allowed: {allowed}")

    def resume(
        self,
        run_id: str,
        *,
        spec: str | None = None,
        name: str | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
        cluster: str | None = None,
        submission_id: str | None = None,
        driver_host: str | None = None,
        driver_pid: int | None = None,
        more_to_do: bool = False,
    ) -> None:
        """Put a run that ended without success into the queue again, owned by another driver.

        Args:
            spec: the resolved specification that it goes on with; the stored one without it.
            name: that it now has; unchanged without it.
            priority: that it now has; unchanged without it.
            labels: that it now has; unchanged without them.
            cluster: address of the cluster that it is now sent to; None for local Ray, wherever it was before.
            submission_id: the Ray job that its driver is there.
            more_to_do: whether one that succeeded may be put there too.

        Raises:
            UsageError: it has succeeded, or still goes on.
            NotFound: no such run.
        """
        given = {"spec": spec, "name": name, "priority": priority, "labels": None if labels is None else dict(labels)}
        changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        changed |= {"cluster": cluster, "submission_id": submission_id}
        states = FINAL if more_to_do else RESUMABLE
        if not self.writer.resume(run_id, changed, host=driver_host, pid=driver_pid, states=states):
            state = self._fetch(run_id).state
            raise UsageError(
                f"run {run_id} is {state} and cannot be resumed; runs that can: {', '.join(sorted(states))}"
            )

    def request_cancel(self, run_id: str) -> bool:
        """Leave the wish that a run should stop; its driver sees it.

        Returns:
            False when the run has ended already.

        Raises:
            NotFound: no such run.
        """
        if self.writer.request_cancel(run_id):
            return True
        self._fetch(run_id)
        return False

    def update_metrics(self, run_id: str, metrics: Mapping[str, float], *, replace: bool = False) -> None:
        """Merge these into the run's summary metrics.

        Args:
            replace: forget those that it had.

        Raises:
            NotFound: no such run.
        """
        if not self.writer.update_metrics(run_id, metrics, replace=replace):
            raise self._unknown(run_id)

    def set_result(self, run_id: str, result: Mapping[str, Any]) -> None:
        """Keep what the run's kind returned.

        Raises:
            NotFound: no such run.
        """
        if not self.writer.set_result(run_id, result):
            raise self._unknown(run_id)

    def start_attempt(self, run_id: str, cause: str, *, first_step: int | None = None) -> int:
        """Open the next attempt and return its number, counted from 1 over the run's whole life.

        Args:
            cause: `first`, `resume`, or the reason that ended the attempt before.
            first_step: optimizer step that it begins at.

        Raises:
            LedgerError: the run has ended.
            NotFound: no such run.
        """
        number = self.writer.start_attempt(run_id, cause, first_step)
        if number is None:
            state = self._fetch(run_id).state
            raise LedgerError(f"run {run_id} is {state}, it takes no further attempt; resume it first")
        return number

    def describe_attempt(self, run_id: str, number: int, **told: float | Mapping[str, Any] | None) -> None:
        """Write down `first_step`, `last_step`, `workers`, `gpus`, `lost_s` or `chosen` of an attempt anew.

        Raises:
            NotFound: no such attempt.
        """
        if not self.writer.describe_attempt(run_id, number, told):
            raise NotFound(f"run {run_id} has no attempt {number}; it has {len(self.attempts(run_id))}")

    def end_attempt(
        self,
        run_id: str,
        number: int,
        outcome: State | str,
        reason: Reason | str | None = None,
        message: str | None = None,
        last_step: int | None = None,
    ) -> None:
        """Close an attempt. One that is closed keeps how it ended, and only learns what it did not say yet.

        Raises:
            NotFound: no such attempt.
        """
        told = {
            "outcome": State(outcome),
            "reason": Reason(reason) if reason is not None else None,
            "message": message or None,
            "last_step": last_step,
        }
        if not self.writer.end_attempt(run_id, number, told):
            raise NotFound(f"run {run_id} has no attempt {number}; it has {len(self.attempts(run_id))}")

    def reap_dead(self, *, elsewhere: bool = False) -> list[str]:
        """Close runs whose driver died; returns their ids.

        Args:
            elsewhere: whether to look at leases of drivers elsewhere too, which takes seconds where one looks dead.
        """
        sql = f"SELECT * FROM runs WHERE driver_pid IS NOT NULL AND state IN ({lookup.quoted(ACTIVE)})"
        active = [run_of(row) for row in self._reader.rows(sql)]
        return self._close_those_dead(active, elsewhere=elsewhere)

    def close_dead(self, record: RunRecord) -> None:
        """Close a run whose driver is known to be gone, unless it ended or has another driver since it was read."""
        self.writer.transition(record.id, State.FAILED, Reason.PLATFORM_ERROR, DRIVER_DIED, owner=record)

    def get(self, reference: str) -> RunRecord:
        """One run.

        Args:
            reference: its id, its name (the newest run of that name), or the start of its id, 4 characters at least.

        Raises:
            NotFound: no such run.
            UsageError: several ids start like this.
        """
        record = self._find(reference)
        return self._fetch(record.id) if self._close_those_dead([record], elsewhere=True) else record

    def list_runs(
        self,
        *,
        state: State | str | Collection[State | str] | None = None,
        kind: str | None = None,
        name: str | None = None,
        parent: str | None = None,
        parts: bool = False,
        limit: int | None = None,
        elsewhere: bool = True,
    ) -> list[RunRecord]:
        """Runs that match all that is given, newest first; those whose driver died are closed before.

        Args:
            parent: the run whose parts are wanted.
            parts: whether runs that are parts of another one are wanted too.
            elsewhere: whether to look at leases of drivers elsewhere too.
        """
        self.reap_dead(elsewhere=elsewhere)
        pairs = (("kind", kind), ("name", name), ("parent", parent))
        given = {key: value for key, value in pairs if value is not None}
        whole = [] if parts or parent is not None else ["parent IS NULL"]
        conditions = ["1 = 1", *whole, *(f"{key} = :{key}" for key in given)]
        if state is not None:
            states = [state] if isinstance(state, str) else state
            conditions.append(f"state IN ({lookup.quoted(State(one) for one in states)})")
        count = "" if limit is None else f"LIMIT {int(limit)}"
        sql = f"SELECT * FROM runs WHERE {' AND '.join(conditions)} {lookup.NEWEST_FIRST} {count}"
        return [run_of(row) for row in self._reader.rows(sql, given)]

    def begun_once(self, once: str) -> RunRecord | None:
        """The run with this label `forgeline.once`, of which there is one at most."""
        return lookup.run_begun_once(self._reader, once)

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked the run to stop.

        Raises:
            NotFound: no such run.
        """
        rows = self._reader.rows("SELECT cancel_requested FROM runs WHERE id = :id", {"id": run_id})
        if not rows:
            raise self._unknown(run_id)
        return rows[0]["cancel_requested"] is not None

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        """A run's attempts, first to last."""
        sql = "SELECT * FROM attempts WHERE run_id = :id ORDER BY number"
        return [attempt_of(row) for row in self._reader.rows(sql, {"id": run_id})]

    def journal(self, run_id: str, *, since: int = 0) -> list[dict[str, Any]]:
        """What a run wrote down to go on from, first to last, from this number on."""
        sql = "SELECT entry FROM journal WHERE run_id = :id AND number >= :since ORDER BY number"
        return [entry_of(row) for row in self._reader.rows(sql, {"id": run_id, "since": since})]

    def took_s(self, run_id: str) -> float | None:
        """Seconds that a run worked, the time between its attempts left out; None before the first."""
        attempts = self.attempts(run_id)
        return sum(attempt.duration_s for attempt in attempts) if attempts else None

    def known(self, column: Literal["id", "name", "kind"], *, limit: int = _SUGGESTED_FROM) -> list[str]:
        """What the newest runs have there, each once, newest first."""
        rows = self._reader.rows(f"SELECT {column} FROM runs {lookup.NEWEST_FIRST} LIMIT {int(limit)}")
        return list(dict.fromkeys(row[column] for row in rows))

    def _is_current(self) -> bool:
        # In memory a database is seen by its own connection alone, and is always new.
        if sqlite_file(self._url) is None and self._url.startswith("sqlite"):
            raise LedgerError(
                f"FORGELINE_LEDGER_URL: {self._url!r} is in memory; allowed: sqlite:///FILE, postgresql://…"
            )
        return self._reader.schema() == HEAD

    def _find(self, reference: str) -> RunRecord:
        found = lookup.run_meant(self._reader, reference)
        if found is None:
            raise self._unknown(reference)
        return found

    def _fetch(self, run_id: str) -> RunRecord:
        rows = self._reader.rows("SELECT * FROM runs WHERE id = :id", {"id": run_id})
        if not rows:
            raise self._unknown(run_id)
        return run_of(rows[0])

    def _close_those_dead(self, records: Sequence[RunRecord], *, elsewhere: bool) -> list[str]:
        active = [record for record in records if not record.is_final]
        dead = [record for record in active if leases.is_dead_here(record)]
        dead += self._lease_look.over(active) if elsewhere else []
        for record in dead:
            self.close_dead(record)
        return [record.id for record in dead]

    @cached_property
    def _lease_look(self) -> leases.LeaseLook:
        return leases.LeaseLook(read=self._fetch, now=self._reader.now, prove_writable=self._prove_writable)

    def _prove_writable(self) -> None:
        self.writer.prove_writable()

    def _unknown(self, reference: str) -> NotFound:
        return NotFound(f"no run {reference!r}; {did_you_mean(reference, self.known('name'))}")
