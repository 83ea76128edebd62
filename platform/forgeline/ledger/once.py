"""Runs that are begun once: two with the same label `forgeline.once` cannot be.

Who launches a run may be killed before it has learnt the run's id, while the run goes on to begin. It launches again
with the same label, and the second one is refused by the database, not by looking first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgeline.errors import LedgerError

if TYPE_CHECKING:
    import sqlalchemy as sa

ONCE = "forgeline.once"
"""The label."""


class AlreadyBegun(LedgerError):
    """A run with this label `forgeline.once` exists."""

    exit_code = 2


def once_sql(dialect: str) -> str:
    """The label's value in a row of `runs`, as SQL."""
    return f"labels ->> '{ONCE}'" if dialect == "postgresql" else f"json_extract(labels, '$.\"{ONCE}\"')"


def refuse_again(connection: sa.Connection, once: str) -> None:
    """Raise where a run has the label; until this transaction ends no other one may write such a run.

    Raises:
        AlreadyBegun: which run has it.
    """
    import sqlalchemy as sa

    dialect = connection.dialect.name
    if dialect == "postgresql":
        # SQLite's transactions that write take turns anyway.
        subject = {"subject": f"{ONCE}={once}"}
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:subject, 0))"), subject)
    known = connection.execute(sa.text(f"SELECT id FROM runs WHERE {once_sql(dialect)} = :once"), {"once": once})
    if (found := known.scalar()) is not None:
        raise already_begun(once, found)


def already_begun(once: str, run_id: str) -> AlreadyBegun:
    """The error that names the run."""
    return AlreadyBegun(f"run {run_id} has the label {ONCE}: {once} already; such a run is begun once")
