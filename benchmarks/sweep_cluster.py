"""Sweeps that share a host, with each other and with a run that goes first: `make acceptance ONLY=sweep-cluster`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import forgeline as fl
from benchmarks.sweep_kill import TRAIN, until
from forgeline.launching.events import EventReader
from forgeline.ledger.ledger import open_ledger
from forgeline_jobs.sweep.trials import Outcome, read

Say = Callable[[str], None]

LIMIT_S = 900.0


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """Each bar is a row."""
    return {
        "two sweeps at once": partial(two_at_once, say),
        "four trials of 4 workers on 8 slots": partial(gangs, say),
        "a run of higher priority beside a sweep": partial(outranked, say),
    }


def two_at_once(say: Say) -> dict[str, Any]:
    """Two sweeps on four slots, two each: both finish, and they do work at the same time."""
    started = time.perf_counter()
    with place(cpus=4) as folder:
        ids = [submit(sweep(folder, name=f"sweep-{at}", epochs=9, trials=4, concurrent=2)) for at in range(2)]
        states = [fl.get(run_id).wait() for run_id in ids]
        counts = [outcomes(run_id) for run_id in ids]
        together = overlap_s(*ids)
    say(f"two sweeps: {states}, {together:.0f} s at the same time")
    return {
        "states": states,
        "outcomes": counts,
        "together_s": round(together, 1),
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": states == ["succeeded"] * 2 and together > 0 and all(sum(each.values()) == 4 for each in counts),
    }


def gangs(say: Say, *, trials: int = 4, workers: int = 4, slots: int = 8) -> dict[str, Any]:
    """Trials of several workers each, more than there is room for: none waits while holding a part of its workers."""
    started = time.perf_counter()
    with place(cpus=slots) as folder:
        spec = sweep(folder, name="gangs", epochs=6, trials=trials, concurrent="auto", workers=workers)
        run_id = submit(spec)
        most = 0
        limit = time.monotonic() + LIMIT_S
        while fl.get(run_id).state not in ("succeeded", "failed", "cancelled") and time.monotonic() < limit:
            runs = open_ledger().list_runs(parent=run_id)
            most = max(most, sum(run.state == "running" for run in runs))
            time.sleep(0.5)
        state, counts = fl.get(run_id).state, outcomes(run_id)
    say(f"gangs: {state}, {counts}, at most {most} trials at once")
    return {
        "state": state,
        "outcomes": counts,
        "most_at_once": most,
        "asked": slots // workers,
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": state == "succeeded" and most == slots // workers and sum(counts.values()) == trials,
    }


def outranked(say: Say, *, epochs: int = 1500, every: int = 500) -> dict[str, Any]:
    """How long a run of higher priority waits for a place that a sweep holds: one checkpoint interval at most.

    What is the best so far is written in between as well, which is not counted on.
    """
    with place(cpus=1) as folder:
        run_id = submit(sweep(folder, name="outranked", epochs=epochs, trials=2, concurrent=1, every=every))
        interval = epoch_s(run_id) * every
        job = folder / "job.yaml"
        job.write_text(json.dumps({**TRAIN, "name": "first", "priority": 10}), encoding="utf-8")
        first = submit(job)
        ended = fl.get(first).wait()
        waited = queued_s(fl.get(first))
        state = fl.get(run_id).wait()
        attempts = [attempt.cause for attempt in fl.get(run_id).attempts]
        counts = outcomes(run_id)
    say(f"outranked: waited {waited:.1f} s, a checkpoint every {interval:.1f} s; then {state}, {attempts}")
    return {
        "metric": "seconds until it starts",
        "measured": round(waited, 1),
        "at_most": round(interval, 1),
        "attempts": attempts,
        "outcomes": counts,
        "met": waited <= interval
        and (ended, state) == ("succeeded", "succeeded")
        and attempts == ["first", "preempted"]
        and counts == {"succeeded": 2},
    }


@contextmanager
def place(*, cpus: int) -> Iterator[Path]:
    """A folder, with a FORGELINE_HOME in it that has so many CPUs."""
    own = ("FORGELINE_HOME", "FORGELINE_LOCAL_CPUS")
    before = {name: os.environ.get(name) for name in own}
    with tempfile.TemporaryDirectory(prefix="fl", ignore_cleanup_errors=True) as folder:
        Path(folder, "home").mkdir()
        os.environ.update(FORGELINE_HOME=f"{folder}/home", FORGELINE_LOCAL_CPUS=str(cpus))
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def sweep(
    folder: Path, *, name: str, epochs: int, trials: int, concurrent: int | str, workers: int = 1, every: int = 1
) -> Path:
    """A sweep's file."""
    train = {
        **TRAIN,
        "trainer": {"epochs": epochs},
        "checkpoint": {"every": f"{every}ep"},
        "resources": {"workers": workers, "cpus_per_worker": 1},
    }
    spec = {
        "kind": "sweep",
        "name": name,
        "train": train,
        "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}},
        "search": {"trials": trials, "concurrent": concurrent},
        "objective": {"metric": "val/loss"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path


def submit(spec: Path) -> str:
    """The id of a run that goes on by itself."""
    line = [sys.executable, "-m", "forgeline.cli.app", "run", str(spec), "--detach"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)}: {done.stderr}")
    return done.stdout.strip()


def outcomes(run_id: str) -> dict[str, int]:
    """How many trials ended how."""
    found = [str(trial.outcome) for trial in read(open_ledger().journal(run_id))]
    return {outcome: found.count(outcome) for outcome in map(str, Outcome) if outcome in found}


def overlap_s(one: str, other: str) -> float:
    """Seconds in which both had a trial under way."""
    spans = [
        [(run.started, run.ended) for run in open_ledger().list_runs(parent=each) if run.started and run.ended]
        for each in (one, other)
    ]
    return sum(
        max(0.0, (min(end, end_2) - max(start, start_2)).total_seconds())
        for start, end in spans[0]
        for start_2, end_2 in spans[1]
    )


def queued_s(run: fl.Run) -> float:
    """Seconds between the first `queued` and the first `starting` that a run told of."""
    told = [event for event in EventReader(run.paths.events).read_new() if event["event"] == "state"]
    at = {event["state"]: event["time"] / 1000 for event in reversed(told)}
    return float(at["starting"] - at["queued"])


def epoch_s(run_id: str, *, over: int = 50) -> float:
    """Seconds that an epoch of the first trial takes; returns once so many are done."""
    ended: list[float] = []

    def enough() -> bool:
        for run in open_ledger().list_runs(parent=run_id):
            told = EventReader(fl.get(run.id).paths.events).read_new()
            ended[:] = [event["time"] / 1000 for event in told if event["event"] == "epoch"]
        return len(ended) > over

    until(enough, f"{over} epochs")
    return (ended[-1] - ended[0]) / (len(ended) - 1)
