"""Delivery to a real `mlflow server` that is slow, refuses, breaks off and is killed: all it costs is time."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.launching import delivery
from forgeline.launching.delivery import Delivery
from forgeline.launching.replay import replay
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Tracker


class Proxy(ThreadingHTTPServer):
    """Stands before the server, and behaves as it is told to for requests that log points."""

    daemon_threads = True

    def __init__(self, server: Any) -> None:
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

    do_GET = do_POST

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


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_SHIP_EVERY_S", 0.02)
    monkeypatch.setattr(delivery, "_BACK_OFF_LIMIT_S", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_every_point_arrives_once_whatever_the_server_does(tmp_path: Path, server: Any) -> None:
    proxy = Proxy(server)
    tracker = Tracker(proxy.uri)
    run_id = tracker.create_run("outage", "outage")
    folder = tmp_path / "run"
    path = folder / "attempts" / "1" / "spool-0.jsonl"
    ending, step = threading.Event(), 0

    def train() -> None:
        nonlocal step
        with Spool(path) as spool:
            while not ending.wait(0.005):
                step += 1
                spool.metrics(step, {"train/loss": 1 / step, "train/rate": float(step)})
                if step % 20 == 0:
                    spool.event("checkpoint", step=step, path="step")

    training = threading.Thread(target=train)
    training.start()
    shipping = Delivery(tracker, run_id, folder)
    shipping.begin(path, first_step=0)
    for mood in ("well", "refuses", "is slow", "breaks off"):
        proxy.in_mood(mood)
    server.kill()
    before = step
    while step < before + 50:
        time.sleep(0.01)
    server.start()
    server.wait()
    ending.set()
    training.join()
    assert shipping.close(within_s=60, well=True) is None
    steps = list(range(1, step + 1))
    for key, values in (("train/loss", [1 / step for step in steps]), ("train/rate", [float(step) for step in steps])):
        history = tracker.client.get_metric_history(run_id, key)
        assert [(point.step, point.value) for point in history] == list(zip(steps, values, strict=True))
    live = [point.step for point in tracker.metric_history(run_id, "live/train/loss")]
    assert live == sorted(set(live)) and set(live) <= set(steps)

    # Gone until the run's end: the points wait, and are sent by hand.
    later = folder / "attempts" / "2" / "spool-0.jsonl"
    server.kill()
    with Spool(later) as spool:
        for number in (1, 2, 3):
            spool.metrics(step + number, {"train/loss": 0.5})
    shipping = Delivery(tracker, run_id, folder)
    shipping.begin(later, first_step=step)
    said = shipping.close(within_s=0.3, well=True)
    assert said is not None and said.startswith("3 metric points did not reach the tracking store")
    assert f"forgeline runs sync {run_id}" in said
    record: Any = SimpleNamespace(id=run_id, state="succeeded", reason=None, spec="kind: toy")
    done = replay(tracker, record, folder)
    assert (done.sent, done.left) == (0, 3) and done.error
    server.start()
    server.wait()
    assert [replay(tracker, record, folder).sent for _ in range(2)] == [3, 0]
    assert [point.step for point in tracker.metric_history(run_id, "train/loss")] == [
        *steps,
        *range(step + 1, step + 4),
    ]
    assert tracker.get(run_id).status == "FINISHED"
    proxy.shutdown()
