from __future__ import annotations

import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from forgeline.errors import LedgerError
from forgeline.ledger import migrations
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.tables import metadata
from tests.databases import execute, of_sqlite


def test_the_migrations_lead_to_the_tables(ledger: Ledger, url: str) -> None:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    scripts = ScriptDirectory(Path(migrations.__file__).parent)
    assert scripts.get_heads() == [migrations.HEAD]


def test_processes_that_open_a_fresh_ledger_at_once_all_succeed(url: str) -> None:
    code = (
        "import sys\n"
        "from forgeline.ledger.ledger import Ledger\n"
        "sys.stdin.readline()\n"
        "ledger = Ledger(sys.argv[1])\n"
        "ledger.create_run(id=sys.argv[2], name='n', kind='train', spec='')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, url, f"run{number}"], stdin=subprocess.PIPE)
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert {run.id for run in Ledger(url).list_runs()} == {f"run{number}" for number in range(4)}


@of_sqlite
def test_reading_a_ledger_that_is_up_to_date_imports_little(ledger: Ledger, url: str) -> None:
    code = (
        "import sys\n"
        "from forgeline.ledger.ledger import Ledger\n"
        "assert Ledger(sys.argv[1]).list_runs() == []\n"
        "heavy = {'alembic', 'sqlalchemy', 'mlflow', 'psutil', 'torch', 'ray', 'pandas'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True)


def test_a_ledger_of_a_newer_version_is_refused(ledger: Ledger, url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="schema 9999.*a newer one has migrated it"):
        Ledger(url)


@of_sqlite
def test_sqlite_is_set_up_for_many_processes(ledger: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no database URL"),
        ("mssql://h/x", "is a mssql database; allowed: sqlite, postgresql"),
        ("postgresql+nodriver://ann:secret@h/x", "allowed: sqlite:///FILE, postgresql"),
        ("postgresql://ann:sec@ret:more@h/x", "^FORGELINE_LEDGER_URL: .*no database URL"),
        ("sqlite://", "in memory"),
    ],
)
def test_a_wrong_url_is_explained_without_its_password(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger(url)
    said = "".join(traceback.format_exception(caught.value))
    assert not any(piece in said for piece in ("secret", "@ret", "more@"))


def test_a_folder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be opened.*FORGELINE_HOME"):
        Ledger(f"sqlite:///{tmp_path / 'missing' / 'ledger.db'}")


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is not a database, but long enough to be looked at" * 30)
    with pytest.raises(LedgerError, match="cannot be opened.*not a database"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
