"""A run on a head and raylets that come and go: it goes on with fewer workers, then with more, and learns the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import forgeline as fl
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import heartbeat
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job
from tests.jobs.train.raylets import RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.cluster]

SPEC: Mapping[str, Any] = {
    "kind": "train",
    "name": "elastic",
    "architecture": {"name": "faulty", "hidden": [8], "step_s": 0.1},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"steps": 1000, "validate_every": "50step"},
    "resources": {"workers": "1..2"},
}


@pytest.fixture
def cluster(faulty: None, home: Path) -> Iterator[RayCluster]:
    with RayCluster({**os.environ, "FORGELINE_HOME": str(home)}) as started:
        yield started


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", {"name": "deepspeed", "zero_stage": 2}], ids=str)
def test_a_run_shrinks_when_a_node_dies_and_grows_when_one_comes(
    cluster: RayCluster, tmp_path: Path, strategy: Any
) -> None:
    first = cluster.add(cpus=1)
    cluster.add(cpus=1)
    run = started(cluster, {**SPEC, "strategy": strategy}, tmp_path)
    until(lambda: step_of(run, 1) >= 80)
    assert len({beat.who.node for beat in heartbeat.read_all(run.paths.attempt(1)).values()}) == 2
    first.kill()
    until(lambda: step_of(run, 2) >= 120)
    cluster.add(cpus=1)
    assert run.wait(timeout=500) == "succeeded", (run.message, run.logs())
    attempts = run.attempts
    assert [attempt.cause for attempt in attempts] == ["first", "node_lost", "resized"]
    assert [attempt.workers for attempt in attempts] == [2, 1, 2]
    assert [attempt.reason for attempt in attempts[:2]] == ["node_lost", "resized"]
    assert attempts[1].first_step is not None and attempts[1].first_step > 0
    assert attempts[2].first_step == attempts[1].last_step  # the checkpoint was written where it stopped
    assert losses(run) == pytest.approx(alone(tmp_path), abs=1e-4)


def started(cluster: RayCluster, spec: Mapping[str, Any], folder: Path) -> fl.Run:
    """Submit in a process of its own: this one's Ray asks for a token."""
    file = folder / "spec.yaml"
    file.write_text(load(spec).text, encoding="utf-8")
    command = [sys.executable, "-m", "forgeline.cli.app", "run", str(file), "--cluster", cluster.address, "--detach"]
    for _ in range(20):
        done = subprocess.run(
            command, env=cluster.environment, capture_output=True, text=True, timeout=300, check=False
        )
        if "No available agent" not in done.stderr:
            break
        time.sleep(3)  # the head takes jobs a while after it answers
    assert done.returncode == 0, done.stdout + done.stderr
    return fl.get(str(spec["name"]))


def losses(run: fl.Run) -> dict[int, float]:
    """Step -> loss, of the last attempt that took it."""
    found: dict[int, float] = {}
    for attempt in run.attempts:
        found |= logged(run.paths.spool(attempt=attempt.number, rank=0))
    return found


def alone(home: Path) -> dict[int, float]:
    """The same of a training in this process, which nothing disturbs."""
    spec = {**SPEC, "architecture": {"name": "mlp", "hidden": [8]}, "resources": {"workers": 1}}
    job = Job(spec=load(spec).text, run_id="alone", home=str(home), attempt=1, checkpoint=None)
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    return logged(job.paths.spool(attempt=1, rank=0))


def logged(spool: Path) -> dict[int, float]:
    lines = [line for line in SpoolReader(spool).read_new() if line["kind"] == "metrics"]
    return {line["step"]: line["values"]["train/loss"] for line in lines if "train/loss" in line["values"]}


def step_of(run: fl.Run, attempt: int) -> int:
    """The newest step of an attempt; -1 before its first."""
    return max(logged(run.paths.spool(attempt=attempt, rank=0)), default=-1)


def until(there: Callable[[], bool], *, within_s: float = 400.0) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if there():
            return
        time.sleep(0.5)
    raise AssertionError("it did not come to that")
