"""Two bars on jobs/specs/digits.yaml: the same seed twice, and a killed and resumed run, give the same digits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
from safetensors.numpy import load_file

import forgeline as fl
from benchmarks.bars import SPECS
from forgeline.tracking.spool import SpoolReader

SPEC = SPECS / "digits.yaml"
KILLED_IN_EPOCH = 3
TIMINGS = ("train/samples_per_s", "system/")


def repeated(say: Callable[[str], None]) -> dict[str, Any]:
    """Metrics of two runs of one spec, compared to the last digit."""
    one, other = (_finished(fl.run(SPEC)) for _ in range(2))
    points, others = dict(_points(one)), dict(_points(other))
    differences = sum(others.get(place) != value for place, value in points.items()) + len(others.keys() - points)
    say(f"same seed twice: {len(points)} points compared, {differences} differ")
    return {"compared": len(points), "differences": differences, "met": differences == 0 and len(points) > 0}


def resumed(say: Callable[[str], None]) -> dict[str, Any]:
    """Final weights of an uninterrupted run and of one that was killed with SIGKILL in epoch 3 and resumed."""
    whole = _finished(fl.run(SPEC))
    killed = fl.run(SPEC, detach=True)
    step = _kill_in_epoch(killed, KILLED_IN_EPOCH)
    say(f"killed at step {step}: {killed.wait(timeout=60)}, {killed.message}")
    again = _finished(fl.run(SPEC, resume=killed.id))
    weights, others = (load_file(run.paths.bundle / "weights.safetensors") for run in (whole, again))
    differences = sum(weights[name].tobytes() != others[name].tobytes() for name in weights)
    say(f"killed at step {step} and resumed: {len(weights)} tensors compared, {differences} differ")
    return {
        "killed_at_step": step,
        "attempts": len(again.attempts),
        "compared": len(weights),
        "differences": differences,
        "met": differences == 0 and weights.keys() == others.keys(),
    }


def _finished(run: fl.Run) -> fl.Run:
    if run.state != "succeeded":
        raise RuntimeError(f"run {run.id}: {run.state}, {run.message}")
    return run


def _points(run: fl.Run) -> Iterator[tuple[tuple[str, int], float]]:
    for attempt in run.attempts:
        for line in SpoolReader(run.paths.spool(attempt=attempt.number, rank=0)).read_new():
            if line["kind"] == "metrics":
                for name, value in line["values"].items():
                    if not name.startswith(TIMINGS):
                        yield (name, line["step"]), value


def _kill_in_epoch(run: fl.Run, epoch: int, *, limit_s: float = 600) -> int:
    """SIGKILL the driver and every process below it once a step of `epoch` is done; returns that step."""
    reader = SpoolReader(run.paths.spool(attempt=1, rank=0))
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        for line in reader.read_new():
            if line["kind"] == "event" and line["event"] == "step" and line["epoch"] >= epoch:
                driver = psutil.Process(run.record.driver_pid)
                for process in [driver, *driver.children(recursive=True)]:
                    process.kill()
                return int(line["step"])
        time.sleep(0.2)
    raise RuntimeError(f"run {run.id} did not reach epoch {epoch} in {limit_s:.0f} s")
