"""Which run a person means: by its id, by the start of it, or by its name."""

from __future__ import annotations

from collections.abc import Iterable

from forgeline.errors import UsageError
from forgeline.ledger.once import once_sql
from forgeline.ledger.records import RunRecord
from forgeline.ledger.rows import run_of
from forgeline.ledger.sql_reading import SqlReader
from forgeline.ledger.states import State

SHORTEST_PREFIX = 4
NEWEST_FIRST = "ORDER BY created DESC, id DESC"


def run_meant(reader: SqlReader, reference: str) -> RunRecord | None:
    """The run of this id or name (the newest), or the one whose id starts like this; None where there is none.

    Raises:
        UsageError: several ids start like this.
    """
    given = {"given": reference}
    rows = reader.rows("SELECT * FROM runs WHERE id = :given", given)
    if not rows:
        rows = reader.rows(f"SELECT * FROM runs WHERE name = :given {NEWEST_FIRST} LIMIT 1", given)
    if not rows and len(reference) >= SHORTEST_PREFIX:
        length = len(reference)
        sql = f"SELECT * FROM runs WHERE substr(id, 1, {length}) = :given {NEWEST_FIRST} LIMIT 5"
        rows = reader.rows(sql, given)
    if len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        raise UsageError(f"run {reference!r} is ambiguous: {ids}; give more characters")
    return run_of(rows[0]) if rows else None


def run_begun_once(reader: SqlReader, once: str) -> RunRecord | None:
    """The run with this label `forgeline.once`; None where there is none."""
    rows = reader.rows(f"SELECT * FROM runs WHERE {once_sql(reader.dialect)} = :once", {"once": once})
    return run_of(rows[0]) if rows else None


def quoted(states: Iterable[State]) -> str:
    """States as SQL literals; they are our own words, not a user's."""
    return ", ".join(f"'{state}'" for state in sorted(states))
