"""Reading a database by plain SQL: SQLite through Python's own module, others through SQLAlchemy.

A listing answers in less time than SQLAlchemy takes to import. The SQL has `:name` parameters, which both understand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from forgeline.errors import LedgerError
from forgeline.masking import redact

if TYPE_CHECKING:
    import sqlalchemy as sa

_BUSY_TIMEOUT_S = 30.0


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for any other database, and for one in memory."""
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:") else None


def not_a_url(url: str) -> str:
    """What to say of a URL that SQLAlchemy cannot read."""
    return (
        f"FORGELINE_LEDGER_URL: {redact(url)!r} is no database URL; allowed: sqlite:///FILE, postgresql://… "
        "(in a password, write `/` as %2F and `@` as %40)"
    )


def now_sql(dialect: str) -> str:
    """A query for the time by the database's own clock, in seconds since 1970."""
    if dialect == "sqlite":
        return "SELECT (julianday('now') - 2440587.5) * 86400.0 AS now"
    return "SELECT extract(epoch from clock_timestamp()) AS now"


class SqlReader:
    """Reads rows as dictionaries; SQLite gives times and JSON as text. May be used from several threads.

    Args:
        url: SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._file = sqlite_file(url)

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows that a SELECT gives.

        Raises:
            LedgerError: the database does not answer, or does not understand.
        """
        if self._file is None:
            return self._rows_by_sqlalchemy(sql, parameters or {})
        try:
            with closing(self._connect(self._file)) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(sql, parameters or {})]
        except sqlite3.Error as error:
            raise LedgerError(f"{redact(self._url)} did not answer: {error}") from error

    def schema(self) -> str | None:
        """The migration that the tables are of; None where there are none yet."""
        try:
            versions = self.rows("SELECT version_num FROM alembic_version")
        except LedgerError:
            # A fresh database has no such table. Anything worse shows again, and is reported, when migrating.
            return None
        return versions[0]["version_num"] if len(versions) == 1 else None

    def now(self) -> float:
        """The time by the database's own clock, in seconds since 1970."""
        return float(self.rows(now_sql(self.dialect))[0]["now"])

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return "sqlite" if self._file is not None else "postgresql"

    def close(self) -> None:
        """Give back the connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @staticmethod
    def _connect(file: Path) -> sqlite3.Connection:
        # Not "rwc": looking must not create a database.
        return sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_S)

    def _rows_by_sqlalchemy(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        import sqlalchemy as sa
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(sa.text(sql), parameters).mappings()]
        except ValueError:
            # Its text, and its traceback, hold a piece of the password.
            raise LedgerError(not_a_url(self._url)) from None
        except (SQLAlchemyError, ImportError) as error:
            raise LedgerError(f"{redact(self._url)} did not answer: {redact(str(error))}") from error

    @cached_property
    def _engine(self) -> sa.Engine:
        import sqlalchemy as sa

        return sa.create_engine(self._url, pool_pre_ping=True)
