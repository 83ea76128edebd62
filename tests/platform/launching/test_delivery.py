"""Delivery to a real `mlflow server` that is slow, refuses, breaks off and is killed: all it costs is time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.launching import delivery
from forgeline.launching.delivery import Delivery
from forgeline.launching.replay import replay
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Point, Tracker
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
    # What clients send through the server lies beside its store, not where it was started.
    tracker.log_text(run_id, "kind: toy", "spec.yaml")
    assert [path.name for path in (tmp_path / "artifacts").rglob("*.yaml")] == ["spec.yaml"]
    proxy.shutdown()


def test_what_a_store_that_is_away_until_the_end_has_not_got_is_sent_by_hand(tmp_path: Path, home: Path) -> None:
    store, away = Tracker(f"sqlite:///{home / 'mlflow.db'}"), Tracker("http://127.0.0.1:9")
    run_id = store.create_run("outage", "outage")
    path = tmp_path / "attempts" / "1" / "spool-0.jsonl"
    with Spool(path) as spool:
        for step in (1, 2, 3):
            spool.metrics(step, {"train/loss": 0.5})
    shipping = Delivery(away, run_id, tmp_path)
    shipping.begin(path, first_step=0)
    said = shipping.close(within_s=0.3, well=True)
    assert said is not None and said.startswith("3 metric points did not reach the tracking store")
    assert f"forgeline runs sync {run_id}" in said
    record: Any = SimpleNamespace(id=run_id, state="succeeded", is_final=True, reason=None, spec="kind: toy")
    done = replay(away, lambda: record, tmp_path)
    assert (done.sent, done.left) == (0, 3) and done.error
    assert [replay(store, lambda: record, tmp_path).sent for _ in range(2)] == [3, 0]
    assert [point.step for point in store.metric_history(run_id, "train/loss")] == [1, 2, 3]
    assert store.get(run_id).status == "FINISHED"


class HangingStore:
    """Takes the points of one call, then no more until it is let go."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def last_steps(self, run_id: str) -> dict[str, int]:
        return {}

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        if self.points:
            self.hangs.set()
            self.goes_on.wait()
        self.points += points


def test_closing_while_the_store_hangs_only_reads(tmp_path: Path) -> None:
    store = HangingStore()
    first, second = (tmp_path / "attempts" / str(attempt) / "spool-0.jsonl" for attempt in (1, 2))
    with Spool(first) as spool:
        spool.metrics(1, {"loss": 0.1})
        spool.event("checkpoint", step=1, path="step-1")
        spool.metrics(2, {"loss": 0.1})
    shipping = Delivery(cast(Any, store), "r", tmp_path)
    shipping.begin(first, first_step=0)
    assert store.hangs.wait(30), "step 1 is under its own key, and step 2 on its way"
    with Spool(second) as spool:
        spool.metrics(2, {"loss": 0.2})
    # The thread cannot hear of it any more.
    shipping.begin(second, first_step=1)
    notes = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.delivered*")}
    said = shipping.close(within_s=0.1, well=True)
    assert said is not None and said.startswith("2 metric points did not reach the tracking store")
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.delivered*")} == notes
    store.goes_on.set()
    assert shipping.close(within_s=30, well=True) is None
    assert [(point.key, point.step, point.value) for point in store.points] == [
        ("loss", 1, 0.1),
        ("live/loss", 2, 0.1),
        ("loss", 2, 0.2),
    ]
