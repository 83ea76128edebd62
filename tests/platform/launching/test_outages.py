"""Whole runs whose tracking server is killed: a real driver, a real Ray, a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from forgeline.tracking.tracker import Tracker

pytestmark = [pytest.mark.ray, pytest.mark.acceptance]


@pytest.fixture
def environment(toy_environment: dict[str, str], server: Any) -> dict[str, str]:
    return toy_environment | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.port}"}


@pytest.fixture
def forgeline(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "forgeline.cli.app", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return call


def show(forgeline: Any) -> dict[str, Any]:
    return dict(json.loads(forgeline("runs", "show", "count", "--format", "json").stdout))


def wait_for_step(home: Path, step: int, *, attempt: int = 1) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        spools = list(home.glob(f"runs/*/attempts/{attempt}/spool-0.jsonl"))
        if any(f'"step":{step},' in spool.read_text() for spool in spools):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"no step {step}")


def test_a_run_that_ends_while_the_server_is_away(forgeline: Any, toy_spec: Any, home: Path, server: Any) -> None:
    run = forgeline("run", toy_spec(steps=200, step_s=0.05), "--detach").stdout.strip()
    wait_for_step(home, 60)
    server.kill()
    assert forgeline("runs", "wait", run, "--timeout", 120).returncode == 0
    log = forgeline("runs", "logs", run).stdout
    assert "metric points did not reach the tracking store" in log and f"forgeline runs sync {run}" in log
    assert "was not told how the run ended" in log
    down = forgeline("runs", "sync", "count")
    assert (down.returncode, down.stderr.count("error: ")) == (1, 1)
    server.start()
    server.wait()
    [row] = json.loads(forgeline("runs", "sync", "count", "--format", "json").stdout)
    assert row["sent"] >= 140 and row["left"] == 0
    tracker = Tracker(f"http://127.0.0.1:{server.port}")
    history = tracker.client.get_metric_history(run, "train/loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 201)]
    tracked = tracker.get(run)
    assert (tracked.status, tracked.params["steps"]) == ("FINISHED", "200")
    assert json.loads(forgeline("runs", "sync", "--all", "--format", "json").stdout)[0]["sent"] == 0


def test_a_driver_that_is_killed_and_resumed_while_the_server_is_away(
    forgeline: Any, toy_spec: Any, home: Path, server: Any
) -> None:
    run = forgeline("run", toy_spec(steps=400, step_s=0.05), "--detach").stdout.strip()
    wait_for_step(home, 30)
    server.kill()
    wait_for_step(home, 60)
    import forgeline as fl

    driver = psutil.Process(fl.get(run).record.driver_pid)
    for process in [driver, *driver.children(recursive=True)]:
        process.kill()
    assert show(forgeline)["state"] == "failed"
    done = forgeline("run", toy_spec(steps=200, step_s=0.05), "--resume", "count")
    assert done.returncode == 0, done.stdout + done.stderr
    server.start()
    server.wait()
    assert json.loads(forgeline("runs", "sync", "count", "--format", "json").stdout)[0]["left"] == 0
    tracker = Tracker(f"http://127.0.0.1:{server.port}")
    history = tracker.client.get_metric_history(run, "train/loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 201)]
    assert tracker.get(run).status == "FINISHED"
    assert [attempt["cause"] for attempt in show(forgeline)["attempts"]] == ["first", "resume"]
