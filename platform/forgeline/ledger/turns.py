"""Turns: rights that one process has at a time, over several transactions, and that end with the process.

A file lock beside a SQLite database, an advisory lock in PostgreSQL.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from forgeline.errors import LedgerError

WAIT_S = 60.0
"""How long a turn is waited for."""

_LOOK_EVERY_S = 0.005
_LOCK_NOT_AVAILABLE = "55P03"  # of PostgreSQL


@contextmanager
def file_turn(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is missing.

    Raises:
        LedgerError: the file cannot be made, or another process holds its lock for `WAIT_S`.
    """
    try:
        file = open(path, "w")  # noqa: SIM115
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be locked: {error.strerror}; "
            "set FORGELINE_HOME or FORGELINE_LEDGER_URL to a place that you can write to"
        ) from error
    with file:
        until = time.monotonic() + WAIT_S
        while not _locked(file.fileno()):
            if time.monotonic() > until:
                raise LedgerError(f"another process has held {path} for {WAIT_S:g} s; try again when it has ended")
            time.sleep(_LOOK_EVERY_S)
        yield


@contextmanager
def advisory_turn(engine: sa.Engine, subject: str) -> Iterator[None]:
    """Hold PostgreSQL's lock on a subject, by a transaction of its own that writes nothing.

    Raises:
        LedgerError: another process holds it for `WAIT_S`.
    """
    with engine.connect() as connection, connection.begin():
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{WAIT_S:g}s'"))
        try:
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:subject, 0))"), {"subject": subject}
            )
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise LedgerError(
                f"another process has held the turn of {subject!r} for {WAIT_S:g} s; try again when it has ended"
            ) from error
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
