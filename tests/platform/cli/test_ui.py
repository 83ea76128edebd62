"""`forgeline ui` with MLflow's own server: it says when it is ready, and ends quietly, or with what went wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def page(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, once its page can be read."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "forgeline.cli.app", "ui", "--port", str(port)]
    environment = {**os.environ, "FORGELINE_HOME": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_takes_ctrl_c
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        assert process.stdout.readline() == f"ready: http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        yield process
        process.kill()


def _takes_ctrl_c() -> None:
    """As on a terminal: where the suite itself runs in the background of a script, SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def servers(page: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(page.pid).children(recursive=True)


def test_ctrl_c_ends_every_process_quietly(page: subprocess.Popen[str]) -> None:
    below = servers(page)
    assert below
    page.send_signal(signal.SIGINT)
    out, err = page.communicate(timeout=120)
    assert (page.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below)


def test_a_server_that_ends_by_itself_is_an_error(page: subprocess.Popen[str]) -> None:
    for process in servers(page):
        process.kill()
    _, err = page.communicate(timeout=120)
    assert page.returncode == 1
    assert "MLflow's server ended with code -9" in err
