"""A real `mlflow server`, and what stands before it and misbehaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server:
    """`mlflow server` on a SQLite store; artifacts lie beside it."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store = store
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.store}"]
        command += ["--artifacts-destination", str(self.store.parent / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health"):
                return
            time.sleep(0.1)
        raise AssertionError("mlflow server does not answer")


class Proxy(ThreadingHTTPServer):
    """Stands before the server, and behaves as it is told to for requests that log points."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = server
        self.mood = "well"
        self.met: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def in_mood(self, mood: str, *, within_s: float = 60) -> None:
        """Behave like this until points met it."""
        self.mood = mood
        until = time.monotonic() + within_s
        while mood not in self.met:
            assert time.monotonic() < until, f"no point was sent in {within_s} s"
            time.sleep(0.01)
        self.mood = "well"


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        mood = self.server.mood if self.path.endswith("/log-batch") else "well"
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if mood == "refuses":
            self.answer(500, b'{"error_code": "INTERNAL_ERROR"}')
        else:
            if mood == "is slow":
                time.sleep(0.5)
            status, content = self.forward(body)
            # It has the points, and nobody hears of it.
            if mood == "breaks off":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.answer(status, content)
        self.server.met.add(mood)

    do_GET = do_PUT = do_POST

    def forward(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.server.behind.port}{self.path}"
        request = urllib.request.Request(url, data=body or None, method=self.command, headers=headers)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 502, b"{}"

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
