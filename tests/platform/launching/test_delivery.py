"""Delivery to a real `mlflow server` that is slow, refuses, breaks off and is killed: all it costs is time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.launching import delivery
from forgeline.launching.delivery import Delivery
from forgeline.launching.replay import replay
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Tracker
from tests.platform.tracking.servers import Proxy


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
