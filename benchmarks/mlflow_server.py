"""`mlflow server` on a store, as a process of its own that can be stopped and started again at the same address."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_STARTS_WITHIN_S, _STOPS_WITHIN_S = 60.0, 20.0
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class MlflowServer:
    """A server that is not up yet.

    Args:
        uri: of its store.
        artifacts: folder for files of runs.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._uri, self._artifacts = uri, artifacts
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return when it answers.

        Raises:
            RuntimeError: it does not.
        """
        where = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        stores = ["--backend-store-uri", self._uri, "--default-artifact-root", self._artifacts.as_uri()]
        self._process = server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *stores], env={**os.environ, **_QUIET},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=1):
                return
            if server.poll() is not None:
                raise RuntimeError(f"mlflow server ended with {server.returncode}")
            time.sleep(0.1)
        raise RuntimeError("mlflow server does not answer")

    def hang(self) -> None:
        """Let it take connections and answer nothing, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End that."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and its workers; one that is not up changes nothing."""
        if self._process is not None:
            self._signal(signal.SIGTERM)
            self._process.wait(_STOPS_WITHIN_S)
            self._process = None

    def _signal(self, which: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("mlflow server is not up")
        os.killpg(self._process.pid, which)


@contextlib.contextmanager
def served(uri: str, folder: Path) -> Iterator[MlflowServer]:
    """A server that is up.

    Args:
        uri: of its store.
        folder: for files of runs.
    """
    server = MlflowServer(uri, folder / "artifacts")
    server.start()
    try:
        yield server
    finally:
        server.stop()
