"""Opening the ledger's database, brought to the schema of this version.

- Alembic is imported only when there is something to migrate: every listing opens the ledger.
- Processes that open a fresh database at once take turns: a file lock beside SQLite, an advisory lock in PostgreSQL.
- On SQLite a transaction that writes begins as one (BEGIN IMMEDIATE). Begun as a reader, it could not wait for a writer
  and would fail at once.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from forgeline.errors import LedgerError
from forgeline.ledger import turns
from forgeline.ledger.migrations import HEAD
from forgeline.ledger.sql_reading import not_a_url, sqlite_file
from forgeline.masking import redact

WRITING = {"forgeline_writes": True}
"""Execution options of a connection whose transaction will write."""

_BUSY_TIMEOUT_MS = 30_000
_LOCK_KEY = 0x464F524745  # "FORGE": any number that other users of the same PostgreSQL are unlikely to choose
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A database with this version's tables.

    Args:
        url: SQLAlchemy URL, of SQLite or PostgreSQL.

    Raises:
        LedgerError: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._place = redact(url)
        self._engine = open_engine(url)
        self._file = sqlite_file(url)
        self._turns = threading.Lock()

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that is committed at the end.

        Raises:
            LedgerError: the database does not answer, or refuses what is written.
        """
        if self._file is not None and not self._file.exists():
            # SQLite would make a new, empty one; whoever took the file away may bring it back.
            raise LedgerError(f"the ledger at {self._place} did not answer: its file is gone")
        with self._guarded(), self._engine.connect().execution_options(**WRITING) as connection, connection.begin():
            yield connection

    @contextmanager
    def turn(self, subject: str) -> Iterator[None]:
        """Hold a right that one process has at a time, whatever transactions it makes meanwhile.

        Args:
            subject: what it is the right to; a SQLite database has one turn for all subjects.

        Raises:
            LedgerError: the database does not answer, or another process keeps the turn too long.
        """
        # Threads wait here: each that waited in PostgreSQL would keep a connection, and the holder needs one more.
        if not self._turns.acquire(timeout=turns.WAIT_S):
            raise LedgerError(f"the ledger at {self._place} did not give a turn for {turns.WAIT_S:g} s: {subject}")
        try:
            if self._file is not None:
                with turns.file_turn(self._file.with_name(f"{self._file.name}.turn")):
                    yield
            else:
                with self._guarded(), turns.advisory_turn(self._engine, subject):
                    yield
        finally:
            self._turns.release()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise LedgerError(f"the ledger at {self._place} refused a record: {error.orig}") from error
        except DBAPIError as error:
            raise LedgerError(f"the ledger at {self._place} did not answer: {error.orig}") from error
        except SQLAlchemyError as error:
            raise LedgerError(f"the ledger at {self._place} did not answer: {error}") from error


def open_engine(url: str) -> sa.Engine:
    """An engine on the database, its tables being those of this version.

    Args:
        url: SQLAlchemy URL, of SQLite or PostgreSQL.

    Raises:
        LedgerError: the URL is wrong, the database does not answer, or a newer Forgeline has migrated it.
    """
    engine = _engine(url)
    try:
        if _version(engine) != HEAD:
            _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise LedgerError(
            f"the ledger at {redact(url)} cannot be opened: {error.orig}; FORGELINE_LEDGER_URL (or FORGELINE_HOME, "
            "for a ledger in a file) says where it is"
        ) from error
    return engine


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise LedgerError(
                f"FORGELINE_LEDGER_URL: {redact(url)!r} is a {backend} database; allowed: sqlite, postgresql"
            )
        engine = sa.create_engine(parsed, pool_pre_ping=backend != "sqlite")
    except (ArgumentError, NoSuchModuleError, ValueError):
        # Their text, and their traceback, may hold a piece of the password.
        raise LedgerError(not_a_url(url)) from None
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"FORGELINE_LEDGER_URL: {redact(url)!r} needs the package {error.name!r}; install it, or use sqlite:///FILE"
        ) from error
    if backend == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, record: Any) -> None:
    # Python's own transaction handling off: `_on_begin` says BEGIN.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # With the write-ahead log this loses nothing when a process is killed.
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("forgeline_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _version(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        try:
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        except DatabaseError:
            # A fresh database has no such table. Anything worse shows again, and is reported, when migrating.
            return None


def _migrate(engine: sa.Engine) -> None:
    with _turn(engine):
        version = _version(engine)
        if version == HEAD:
            return
        if engine.dialect.name == "sqlite":
            _keep_write_ahead_log(engine)
        with engine.connect().execution_options(**WRITING) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            _upgrade(connection, version)


def _keep_write_ahead_log(engine: sa.Engine) -> None:
    """Set it once, it stays with the file. SQLite does not wait by itself for a reader to leave before this."""
    connection = engine.raw_connection()
    try:
        until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
    finally:
        connection.close()


def _upgrade(connection: sa.Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise LedgerError(
            f"the ledger has schema {version}, this Forgeline knows up to {HEAD}: a newer one has migrated it; "
            "upgrade Forgeline, or set FORGELINE_LEDGER_URL to another database"
        )
    command.upgrade(config, "head")


@contextmanager
def _turn(engine: sa.Engine) -> Iterator[None]:
    """Hold the file lock of a SQLite database on disk; other databases have locks of their own."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        yield
        return
    try:
        lock = open(f"{database}.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise LedgerError(
            f"the ledger at {database} cannot be opened: {error.strerror}; "
            "set FORGELINE_HOME or FORGELINE_LEDGER_URL to a place that you can write to"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
