"""Ledgers of tests: a file of SQLite each, or a database of the PostgreSQL server that FORGELINE_TEST_POSTGRESQL names.

`make acceptance ONLY=postgresql` runs tests of the ledger, the registry and a deployment's decisions on the latter.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

SERVER = os.environ.get("FORGELINE_TEST_POSTGRESQL", "")

of_sqlite = pytest.mark.skipif(bool(SERVER), reason="about SQLite's own files, or what only SQLite would store")


def ledger_url(folder: Path, *, like: str | None = None) -> str:
    """URL of the ledger of a folder; in PostgreSQL it is a fresh one each time that this is asked.

    Args:
        folder: has none yet.
        like: URL of a ledger that nobody has open, of which it is to be a copy.
    """
    if SERVER:
        return _created(None if like is None else sa.make_url(like).database)
    if like is not None:
        source = Path(like.removeprefix("sqlite:///"))
        for file in source.parent.glob(f"{source.name}*"):
            shutil.copy(file, folder)
    return f"sqlite:///{folder / 'ledger.db'}"


def _created(template: str | None) -> str:
    server, name = sa.make_url(SERVER), f"ledger_{uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


def execute(url: str, statement: str, **values: Any) -> None:
    """Change a ledger as somebody does who may write to its database."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement), values)
    engine.dispose()
