"""`forgeline ui` around a server that stands in for MLflow's: it says when it is ready, and ends quietly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SERVER = """
import http.server, subprocess, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
worker = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
sys.exit(subprocess.run(worker).returncode if port % 2 else 3)
"""


@pytest.fixture
def environment(toy_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    fake = tmp_path / "fake" / "mlflow"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(SERVER, encoding="utf-8")
    return toy_environment | {"PYTHONPATH": f"{fake.parent}:{toy_environment['PYTHONPATH']}"}


def free_port(*, odd: bool) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port % 2 == odd:
            return port


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_ready_and_ends_quietly(environment: dict[str, str], number: signal.Signals) -> None:
    port = free_port(odd=True)
    command = [sys.executable, "-m", "forgeline.cli.app", "ui", "--port", str(port)]
    page = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert page.stdout is not None
        lines = [page.stdout.readline(), page.stdout.readline()]
        assert lines == ["starting\n", f"ready: http://127.0.0.1:{port} (Ctrl-C ends it)\n"]
        server = psutil.Process(page.pid).children(recursive=True)
        assert len(server) == 2
        page.send_signal(number)
        out, err = page.communicate(timeout=30)
    finally:
        page.kill()
    assert (page.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in server)


def test_a_server_that_ends_by_itself_is_an_error(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "forgeline.cli.app", "ui", "--port", str(free_port(odd=False))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ended with code 3" in done.stderr
