"""What logging costs a step: 100 metrics a step against no logging, in one run.

    python -m benchmarks.logging_overhead                  # writes benchmarks/results/logging_overhead.json

A worker process on one thread does the same matrix products in every step, about 200 ms of them. With Forgeline it
writes its metrics to a spool, as a training does, and tells of a checkpoint every 20 steps; this process, as a run's
driver, follows the spool and delivers it to a SQLite store. The order alternates between rounds; ratios are medians of
the rounds'. The 99th percentile of 60 steps is the second slowest: on a busy machine it says what the others did.
So the worker's own CPU time (`cpu_`) is measured beside the time on the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results_file

KEYS = [f"train/metric_{number}" for number in range(100)]
STEPS = 60
WARM_UP_STEPS = 5
STEP_S = 0.2
CHECKPOINT_STEPS = 20
SIZE = 256
GOALS = {"median": 1.01, "p99": 1.05}
NONE, OURS = "no logging", "forgeline"


class Computation:
    """The matrix products of a step."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._matrix = torch.randn(SIZE, SIZE) / SIZE**0.5

    def __call__(self, products: int) -> None:
        value = self._matrix
        for _ in range(products):
            value = value @ self._matrix


def calibrated() -> int:
    """How many products take a step's time; the fastest of some tries, since a machine is only ever slowed down."""
    compute = Computation()
    compute(100)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        compute(100)
        seconds.append(time.perf_counter() - started)
    return round(100 * STEP_S / min(seconds))


def work(logging: str, products: int, spool_file: str) -> dict[str, list[float]]:
    """The worker: seconds of each step on the clock and of its CPU, what logging took included."""
    compute, log = Computation(), _logger(logging, Path(spool_file))
    seconds, cpu_seconds = [], []
    for step in range(1, WARM_UP_STEPS + STEPS + 1):
        started, cpu_started = time.perf_counter(), time.process_time()
        compute(products)
        log(step)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    return {"": seconds[WARM_UP_STEPS:], "cpu_": cpu_seconds[WARM_UP_STEPS:]}


def _logger(logging: str, spool_file: Path) -> Callable[[int], None]:
    if logging == NONE:
        return lambda step: None
    from forgeline.tracking.spool import Spool

    spool = Spool(spool_file)

    def write(step: int) -> None:
        spool.metrics(step, {key: step / 7 for key in KEYS})
        if step % CHECKPOINT_STEPS == 0:
            spool.event("checkpoint", step=step, path=f"step-{step}")

    return write


def measured(logging: str, products: int, uri: str) -> dict[str, float]:
    """Median and 99th percentile of a run's steps, in milliseconds; this process is the run's driver."""
    from forgeline.launching.events import EventLog
    from forgeline.launching.streaming import SpoolStream
    from forgeline.tracking.tracker import Tracker

    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        spool_file = Path(folder, "attempts", "1", "spool-0.jsonl")
        arguments = ["--worker", logging, "--products", str(products), "--spool", str(spool_file)]
        command = [sys.executable, "-m", "benchmarks.logging_overhead", *arguments]
        stream, tracker = None, Tracker(uri)
        if logging == OURS:
            run_id = tracker.create_run("overhead", "overhead")
            events = EventLog(Path(folder, "events.jsonl"))
            stream = SpoolStream(tracker=tracker, run_id=run_id, folder=Path(folder), events=events)
            stream.watch(spool_file, 0)
        done = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True
        )
        if stream is not None:
            left = stream.close(within_s=60, well=True)
            steps = [point.step for point in tracker.metric_history(run_id, KEYS[-1])]
            assert left is None and steps == list(range(1, WARM_UP_STEPS + STEPS + 1)), "every point must arrive"
    found = {}
    for clock, seconds in json.loads(done.stdout.splitlines()[-1]).items():
        found[f"{clock}median"] = round(1000 * statistics.median(seconds), 2)
        found[f"{clock}p99"] = round(1000 * sorted(seconds)[round(0.99 * len(seconds)) - 1], 2)
    return found


def main() -> int:
    """Measure, print the ratios, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--products", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--spool", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments.worker, arguments.products, arguments.spool)))
        return 0
    from forgeline.tracking.tracker import Tracker, silence_mlflow

    silence_mlflow()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (NONE, OURS)}
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        Tracker(uri).check()
        products = calibrated()
        for number in range(arguments.rounds):
            for name in list(found) if number % 2 == 0 else list(found)[::-1]:
                found[name].append(measured(name, products, uri))
                print(f"round {number + 1}: {name}: {found[name][-1]} ms", flush=True)
    rows = {"100 metrics a step": _summary(found)}
    print(json.dumps(rows, indent=1))
    print(f"wrote {results_file.write('logging_overhead', rows)}")
    return 0


def _summary(found: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    ratios = {
        key: round(
            statistics.median(ours[key] / none[key] for ours, none in zip(found[OURS], found[NONE], strict=True)), 4
        )
        for key in found[OURS][0]
    }
    # A worker that waits for a core measures the machine's other work; such a run decides nothing.
    disturbed = any(row["median"] > 1.05 * row["cpu_median"] for row in found[NONE])
    return {
        "step_ms": {
            name: {key: statistics.median(row[key] for row in rows) for key in ratios} for name, rows in found.items()
        },
        "ratios": ratios,
        "goals": GOALS,
        "disturbed": disturbed,
        "reached": {key: None if disturbed else ratios[key] <= goal for key, goal in GOALS.items()},
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "niceness": os.nice(0),
        "rounds": dict(found),
    }


if __name__ == "__main__":
    sys.exit(main())
