"""Ray on this host, started for real in a process of its own: Ray reads its settings once in a process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ray

SLOW = "The current node timed out during startup. This could happen because the GCS has become overloaded."
SCRIPT = """
import json, os, sys
from pathlib import Path
from forgeline.launching.local_ray import LocalRay
from forgeline.spec.envelope import Resources

failures = json.loads(sys.argv[1])
start_once = LocalRay._init

def failing_at_first(self, gpus):
    start_once(self, gpus)
    if failures:
        raise Exception(failures.pop(0))  # as Ray does

LocalRay._init = failing_at_first
local = LocalRay(cpus=1)
try:
    local.start(Resources())
    import ray
    print("started with", ray.cluster_resources()["CPU"])
finally:
    local.stop()
    print("left", [path.name for path in Path("/tmp").glob(f"fl-{os.getpid()}-*")])
"""


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ([SLOW], 0, "started with 1.0"),
        (["no such option"], 1, "Exception: no such option"),
    ],
)
def test_only_a_start_that_was_too_slow_for_ray_is_tried_again(failures: list[str], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(failures)], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "left []" in done.stdout


DEAD = """
import os, psutil
from forgeline.launching.local_ray import LocalRay, raylet_died
from forgeline.spec.envelope import Resources

local = LocalRay(cpus=1)
local.start(Resources())
import ray

@ray.remote
class Actor:
    def pid(self):
        return os.getpid()

actor = Actor.remote()
worker = psutil.Process(ray.get(actor.pid.remote()))
print("before", raylet_died())
[raylet] = [child for child in psutil.Process().children() if child.name() == "raylet"]
raylet.kill()
raylet.wait()
print("after", raylet_died())
local.stop()
print("goes on", worker.is_running() and worker.status() != "zombie", psutil.Process().children())
"""


def test_a_raylet_that_died_is_noticed_and_takes_neither_the_process_along_nor_leaves_a_worker() -> None:
    done = subprocess.run([sys.executable, "-c", DEAD], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.split(" ")[0] in ("before", "after", "goes")]
    assert said == ["before False", "after True", "goes on False []"]
