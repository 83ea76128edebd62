"""A run with a journal, alerts, and a receiver in a process of its own that can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.alerts.alert import Alert, Severity
from tests.databases import ledger_url

RECEIVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(sys.argv[2], "a") as file:
            file.write(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body}) + "\\n")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/hook")
        elif self.path == "/slow":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\n")
            for number in range(200):
                self.wfile.write(b"X-Slow: %d\\r\\n" % number)
                time.sleep(0.05)
        else:
            self.send_response(500 if self.path == "/broken" else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Receiver:
    """An HTTP server; `received` is kept over restarts."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._file = folder / "received.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-S", "-c", RECEIVER, str(self.port), str(self._file)])
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("the receiver does not listen")

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    server = Receiver(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ledger_url(tmp_path)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    yield opened
    opened.close()


@pytest.fixture
def journal(ledger: Ledger) -> Callable[[], Journal]:
    """The journal of the run `run1` as a process that has just started reads it."""
    run = ledger.create_run(id="run1", name="digits", kind="deployment", spec="")
    return lambda: Journal(ledger, run)


@pytest.fixture
def alert() -> Callable[..., Alert]:
    def make(**changes: Any) -> Alert:
        known: dict[str, Any] = {
            "kind": "drift",
            "severity": Severity.TICKET,
            "deployment": "digits",
            "run_id": "run1",
            "model": "digits/3",
            "subject": "intensity",
            "summary": "intensity moved by 0.4 sigma",
            "first": 1000.0,
            "last": 1000.0,
            "window": (700.0, 1000.0),
            "figures": {"shift_std": 0.4, "rows": 500, "p": float("nan")},
        }
        return Alert(**known | changes)

    return make
