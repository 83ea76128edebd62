"""How many metric points a second reach MLflow: what a run does with its spool, against MLflow's own ways, in one run.

    pip install --group bench                                # PostgreSQL, where none is on the path, and its driver
    python -m benchmarks.tracking_throughput                 # writes benchmarks/results/tracking_throughput.json
    python -m benchmarks.tracking_throughput sqlite          # one store, the others' figures kept

Each store is tried as a database that the client writes to itself, and behind `mlflow server`. A step has 100 metrics.
Forgeline's figure counts each point once; `watched` sends it twice, under `live/` before its checkpoint and to its own
key after. Each contender writes to a fresh run; the order alternates between rounds; ratios are medians of the rounds'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results_file
from benchmarks.mlflow_server import served
from benchmarks.postgresql import running

KEYS = [f"train/metric_{number}" for number in range(100)]
STEPS = 300
PEER_STEPS = {"log_metric": 2, "log_metrics, a step a call": 30, "log_batch of 1,000": 100}
BATCH = 1000
GOAL_PER_S = 3000.0


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """URI of a fresh SQLite store, opened as Forgeline opens its own."""
    yield f"sqlite:///{folder / 'mlflow.db'}"


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """URI of a PostgreSQL server of its own, on a socket in `folder`."""
    with running(folder) as server:
        yield server.url()


def forgeline(uri: str, *, watched: bool = False) -> float:
    """Points a second of a run's delivery: `STEPS` steps in a spool, covered by a checkpoint, to the run's own keys."""
    from forgeline.launching.series import Series
    from forgeline.tracking.spool import Spool
    from forgeline.tracking.tracker import Tracker

    tracker = Tracker(uri)
    run_id = tracker.create_run("throughput", "forgeline")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "attempts", "1", "spool-0.jsonl")
        series = Series(tracker, run_id, Path(folder))
        series.begin(path, first_step=0)
        with Spool(path) as spool:
            for step in range(1, STEPS + 1):
                spool.metrics(step, {key: step / 7 for key in KEYS})
            if not watched:
                spool.event("checkpoint", step=STEPS, path="step")
        started = time.perf_counter()
        series.deliver()
        series.finish(well=True)
        series.deliver()
        seconds = time.perf_counter() - started
    assert series.sent == STEPS * len(KEYS) * (2 if watched else 1)
    return STEPS * len(KEYS) / seconds


def forgeline_watched(uri: str) -> float:
    """The same with every point also under `live/` before."""
    return forgeline(uri, watched=True)


def log_metric(uri: str) -> float:
    """`MlflowClient.log_metric`, point by point."""

    def send(client: Any, run_id: str, steps: int) -> None:
        for step in range(steps):
            for key in KEYS:
                client.log_metric(run_id, key, step / 7, step=step)

    return _peer(uri, "log_metric", send)


def log_metrics(uri: str) -> float:
    """`MlflowClient.log_batch` with the metrics of one step, as `mlflow.log_metrics` does."""
    from mlflow.entities import Metric

    def send(client: Any, run_id: str, steps: int) -> None:
        for step in range(steps):
            now = time.time_ns() // 1_000_000
            client.log_batch(run_id, [Metric(key, step / 7, now, step) for key in KEYS])

    return _peer(uri, "log_metrics, a step a call", send)


def log_batch(uri: str) -> float:
    """`MlflowClient.log_batch` with as many points as it takes."""
    from mlflow.entities import Metric

    def send(client: Any, run_id: str, steps: int) -> None:
        now = time.time_ns() // 1_000_000
        points = [Metric(key, step / 7, now + step, step) for step in range(steps) for key in KEYS]
        for start in range(0, len(points), BATCH):
            client.log_batch(run_id, points[start : start + BATCH])

    return _peer(uri, "log_batch of 1,000", send)


def _peer(uri: str, name: str, send: Callable[[Any, str, int], None]) -> float:
    from mlflow import MlflowClient

    client, steps = MlflowClient(uri), PEER_STEPS[name]
    experiment = client.get_experiment_by_name("throughput")
    identity = experiment.experiment_id if experiment else client.create_experiment("throughput")
    run_id = client.create_run(identity).info.run_id
    started = time.perf_counter()
    send(client, run_id, steps)
    seconds = time.perf_counter() - started
    client.set_terminated(run_id)
    return steps * len(KEYS) / seconds


CONTENDERS: Mapping[str, Callable[[str], float]] = {
    "forgeline": forgeline,
    "forgeline, watched": forgeline_watched,
    "log_metric": log_metric,
    "log_metrics, a step a call": log_metrics,
    "log_batch of 1,000": log_batch,
}
STORES = {"sqlite": sqlite, "postgresql": postgresql}
Rounds = Mapping[str, list[dict[str, float]]]


def main() -> int:
    """Measure the stores that are asked for, print the table, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stores", nargs="*", help=f"{', '.join(STORES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    unknown = set(arguments.stores) - set(STORES)
    if unknown:
        parser.error(f"no store {', '.join(sorted(unknown))}; known: {', '.join(STORES)}")
    from forgeline.tracking.tracker import Tracker, silence_mlflow

    silence_mlflow()
    rows: dict[str, Any] = dict(results_file.read("tracking_throughput").get("rows", {}))
    for name in arguments.stores or list(STORES):
        with tempfile.TemporaryDirectory(prefix="fl") as folder, STORES[name](Path(folder)) as uri:
            Tracker(uri).check()  # which creates its tables
            _keep(rows, name, _summary(_measured(uri, arguments.rounds)))
            with served(uri, Path(folder)) as server:
                _keep(rows, f"{name}, behind mlflow server", _summary(_measured(server.address, arguments.rounds)))
    return 0


def _keep(rows: dict[str, Any], name: str, row: dict[str, Any]) -> None:
    rows[name] = row
    print(json.dumps({name: {key: value for key, value in row.items() if key != "rounds"}}, indent=1))
    print(f"wrote {results_file.write('tracking_throughput', rows)}", flush=True)


def _measured(uri: str, rounds: int) -> Rounds:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(rounds):
        for name in list(CONTENDERS) if number % 2 == 0 else list(CONTENDERS)[::-1]:
            started = time.process_time()
            rate = CONTENDERS[name](uri)
            points = PEER_STEPS.get(name, STEPS) * len(KEYS)
            per_cpu_s = points / (time.process_time() - started)
            found[name].append({"points_per_s": round(rate, 1), "points_per_cpu_s": round(per_cpu_s, 1)})
            print(f"{uri.partition(':')[0]}, round {number + 1}: {name}: {found[name][-1]}", flush=True)
    return found


def _summary(found: Rounds) -> dict[str, Any]:
    median = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()
    }
    ratios = {
        f"forgeline against {peer}": round(
            statistics.median(
                us["points_per_s"] / them["points_per_s"] for us, them in zip(found["forgeline"], rows, strict=True)
            ),
            2,
        )
        for peer, rows in found.items()
        if peer in PEER_STEPS
    }
    return {
        "median": median,
        "ratios": ratios,
        "goal_points_per_s": GOAL_PER_S,
        "reached": median["forgeline"]["points_per_s"] >= GOAL_PER_S,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "niceness": os.nice(0),
        "rounds": dict(found),
    }


if __name__ == "__main__":
    sys.exit(main())
