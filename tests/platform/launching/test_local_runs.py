"""Whole runs on this host: a real driver, a real Ray, a real MLflow store, real signals.

One run takes about ten seconds of mostly Ray's start-up, so each test looks at several things of the same run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import forgeline as fl
from forgeline.errors import NotFinished, UsageError

pytestmark = pytest.mark.ray


@pytest.fixture
def start(toy_environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `forgeline run` in the background."""

    def call(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "forgeline.cli.app", "run", *map(str, arguments)],
            env=toy_environment | variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


def wait_until(condition: Callable[[], Any], *, within_s: float = 120) -> Any:
    """The condition's value once it holds; polling, since what is waited for is another process."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if value := condition():
            return value
        threading.Event().wait(0.05)
    raise AssertionError(f"it did not happen within {within_s} s")


def only_run(home: Path) -> Path:
    [folder] = (home / "runs").iterdir()
    return folder


def events(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (only_run(home) / "events.jsonl").read_text().splitlines()]


def has_stepped(home: Path) -> bool:
    runs = list((home / "runs").glob("*/events.jsonl")) if home.exists() else []
    return any('"event": "step"' in path.read_text() for path in runs)


def in_session(leader: int | None) -> list[str]:
    """Names of its living processes; who inherits them may take a while to bury the others."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def show(forgeline: Any, run: str = "count") -> dict[str, Any]:
    return dict(json.loads(forgeline("runs", "show", run, "--format", "json").stdout))


def test_a_run_that_succeeds(forgeline: Any, toy_spec: Any, home: Path, processes: Any) -> None:
    done = forgeline("run", toy_spec(), "--set", "steps=5", "--set", "labels.team=vision")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert processes() == []
    run_id = only_run(home).name
    assert f"run {run_id} (toy count)" in done.stdout
    assert "succeeded" in done.stdout
    assert str(only_run(home)) in done.stdout
    told = [event["state"] for event in events(home) if event["event"] == "state"]
    assert told == ["queued", "starting", "running", "succeeded"]
    assert [event["step"] for event in events(home) if event["event"] == "step"] == [1, 2, 3, 4, 5]
    [result] = [event for event in events(home) if event["event"] == "result"]
    assert (result["omp"], result["address"]) == ("1", "127.0.0.1")
    assert sorted(path.name for path in home.iterdir() if "launching" in path.name) == ["launching"]
    assert list((home / "launching").iterdir()) == []

    shown = show(forgeline)
    assert (shown["state"], shown["run"], shown["metrics"]) == ("succeeded", run_id, {"val/loss": 0.2})
    assert [attempt["cause"] for attempt in shown["attempts"]] == ["first"]
    log = forgeline("runs", "logs", "count").stdout.splitlines()
    assert log[0] == f"run {run_id} (toy count)" and "succeeded" in log
    assert "rank 0: step 5" in log
    assert forgeline("runs", "wait", run_id[:6]).returncode == 0
    again = forgeline("run", toy_spec(), "--resume", "count")
    assert again.returncode == 2
    assert "has succeeded" in again.stderr

    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    tracked = client.get_run(run_id)
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["steps"] == "5"
    assert [point.step for point in client.get_metric_history(run_id, "train/loss")] == [1, 2, 3, 4, 5]


def test_a_run_that_fails(forgeline: Any, toy_spec: Any, home: Path, processes: Any) -> None:
    done = forgeline("run", toy_spec(end="bug"))
    assert done.returncode == 100
    assert "ZeroDivisionError: a bug in the toy" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert processes() == []
    shown = show(forgeline)
    assert (shown["state"], shown["reason"]) == ("failed", "platform_error")
    assert forgeline("runs", "wait", "count").returncode == 100
    assert "Traceback" in (only_run(home) / "driver.log").read_text()


def test_a_run_that_is_cancelled_and_resumed(
    start: Any, forgeline: Any, toy_spec: Any, home: Path, processes: Any
) -> None:
    spec = toy_spec(steps=400, step_s=0.1)
    process = start(spec)
    wait_until(lambda: has_stepped(home))
    assert forgeline("runs", "wait", "count", "--timeout", "0").returncode == 101
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 103, out + err
    assert err == ""
    assert processes() == []
    assert show(forgeline)["state"] == "cancelled"

    done = forgeline("run", spec, "--set", "steps=3", "--resume", "count")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = show(forgeline)
    assert [(a["number"], a["cause"], a["outcome"]) for a in shown["attempts"]] == [
        (1, "first", "cancelled"),
        (2, "resume", "succeeded"),
    ]
    assert shown["metrics"] == {"val/loss": pytest.approx(1 / 3)}, "nothing of the first attempt's"
    assert len(list((home / "runs").iterdir())) == 1
    [result] = [event for event in events(home) if event["event"] == "result"]
    assert result["first"] > 0


def test_a_run_meets_its_deadline_although_it_is_deaf(
    forgeline: Any, toy_spec: Any, home: Path, processes: Any
) -> None:
    spec = toy_spec(steps=10_000, step_s=0.1, timeout="1s", deaf="true")
    done = forgeline("run", spec, FORGELINE_CANCEL_GRACE_S="1")
    assert done.returncode == 104, done.stdout + done.stderr
    assert "killed" in done.stdout
    assert processes() == []
    assert show(forgeline)["reason"] == "deadline"


def test_a_driver_that_dies_takes_its_ray_along_and_is_not_shown_as_running(
    start: Any, forgeline: Any, toy_spec: Any, home: Path, processes: Any
) -> None:
    process = start(toy_spec(end="death"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 100, out + err
    assert "died" in out
    assert processes() == []
    record = fl.get("count").record
    assert record.state == "failed"
    # Ray's agents overwrite their environment, by which `processes` finds the others.
    assert in_session(record.driver_pid) == []


def test_what_a_killed_driver_left_is_ended_by_the_next_run(forgeline: Any, toy_spec: Any, home: Path) -> None:
    run = forgeline("run", toy_spec(steps=1000, step_s=0.1), "--detach").stdout.strip()
    wait_until(lambda: has_stepped(home))
    driver = fl.get(run).record.driver_pid
    assert driver is not None
    os.kill(driver, signal.SIGKILL)
    assert forgeline("run", toy_spec("next", steps=1)).returncode == 0
    assert in_session(driver) == []


def test_detached_runs_queue_and_are_cancelled_from_elsewhere(
    forgeline: Any, toy_spec: Any, home: Path, processes: Any
) -> None:
    long = {"steps": 1000, "step_s": 0.1, "resources": "{workers: 2, cpus_per_worker: 1}"}
    first = forgeline("run", toy_spec("first", **long), "--detach").stdout.strip()
    wait_until(lambda: has_stepped(home))
    second = forgeline("run", toy_spec("second", steps=1), "--detach").stdout.strip()
    states = {row["id"]: row["state"] for row in json.loads(forgeline("runs", "list", "--format", "json").stdout)}
    assert states == {first: "running", second: "queued"}
    run = fl.get(first)
    with pytest.raises(NotFinished):
        run.wait(timeout=0.1)
    with pytest.raises(NotFinished, match="no bundle yet"):
        _ = run.bundle
    with pytest.raises(UsageError, match="--resume"):
        fl.run(toy_spec("first"), resume=first)
    assert forgeline("runs", "cancel", "first").stdout.strip() == f"run {first}: cancelled"
    assert forgeline("runs", "wait", second, "--timeout", "40").returncode == 0
    wait_until(lambda: processes() == [], within_s=15)
    assert forgeline("runs", "cancel", "first").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "wrong=true"], "wrong: wrong is true"),
        (["--set", "stepz=1"], "did you mean `steps`"),
        (["--set", "resources.workers=64"], "this machine has 2"),
        (["--set", "resources.gpus_per_worker=1"], "this machine has 0"),
        (["--resume", "nothing"], "no run 'nothing'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    arguments: list[str], said: str, forgeline: Any, toy_spec: Any, tmp_path: Path, processes: Any
) -> None:
    done = forgeline("run", toy_spec(), *arguments, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == (102 if "--resume" in arguments else 2)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "runs").exists()
    assert processes() == []


def test_a_home_that_cannot_be_written(forgeline: Any, toy_spec: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = forgeline("run", toy_spec(), FORGELINE_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 2
    assert "FORGELINE_HOME" in done.stderr


def test_no_session_of_ray_is_left_in_tmp() -> None:
    from forgeline.launching.local_ray import remove_dead_sessions

    remove_dead_sessions()
    sessions = [path.name for path in Path("/tmp").glob("fl-*-*") if path.name.split("-")[1].isdigit()]
    left = [name for name in sessions if not psutil.pid_exists(int(name.split("-")[1]))]
    assert left == []
