"""What a trial costs beside its work: trials of no length, through a sweep's own parts and through plain Ray Tune.

    python -m benchmarks.sweep                     # writes benchmarks/results/sweep.json

Ours has the conductor, the study, the journal in a real ledger (SQLite) and the actors of a sweep; only what a trial
does is a function. The peers are `benchmarks/peers/plain_tune.py`: a function trainable, for which Tune starts a
process each time, and a class with `reuse_actors=True`. All take turns in each round, one trial at a time, TPE. Ray's
start is left out of all; `load` is the machine's load average before each round.
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
from typing import Any

import psutil

from benchmarks import results_file
from forgeline.launching.context import RunContext
from forgeline.launching.events import EventLog
from forgeline.launching.local_ray import ENVIRONMENT, LocalRay
from forgeline.launching.stopping import StopControl
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import open_ledger
from forgeline.paths import RunPaths
from forgeline.settings import settings
from forgeline.spec.loading import load
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.sweep.budget import Budget
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.trials import Outcome

TRIALS, MANY = 100, 1000
BAR = 3.0
PEER = "benchmarks/peers/plain_tune.py"


def ours(trials: int) -> dict[str, float]:
    """So many trials in this process: seconds, and the driver's memory at the end."""
    # Ray reads how it authenticates when it is imported.
    os.environ.update(ENVIRONMENT)
    from benchmarks.function_trial import FunctionTrial
    from forgeline_jobs.sweep.conductor import Conductor
    from forgeline_jobs.sweep.tuning import tune_trials

    spec = load(
        {
            "kind": "sweep",
            "name": "bench",
            "train": {"kind": "train", "architecture": {"name": "mlp"}, "data": {"name": "wine", "batch_size": 16}},
            "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}},
            "search": {"trials": trials, "concurrent": 1},
            "objective": {"metric": "val/loss"},
        }
    ).spec
    assert isinstance(spec, SweepSpec)
    ledger, paths = open_ledger(), RunPaths(settings().home_folder, "bench")
    ledger.create_run(id="bench", name="bench", kind="sweep", spec="kind: sweep\n")
    paths.root.mkdir(parents=True)
    context = RunContext(
        run_id="bench",
        spec=spec,
        paths=paths,
        settings=settings(),
        ledger=ledger,
        tracker=Tracker(settings().resolved_tracking_uri, settings().artifact_root),
        attempt=1,
        events=EventLog(paths.events),
        stop=StopControl(grace_s=1),
    )
    study = Study(spec, Journal(ledger, ledger.get("bench")), maximise=[False])
    conductor = Conductor(context, spec, study, Budget(spec.budget, ledger, "bench"), halted=paths.root / "halted")
    local = LocalRay(cpus=1)
    local.start(spec.resources)
    try:
        started = time.perf_counter()
        tune_trials(conductor, folder=paths.root / "tune", at_once=1, name="bench", trainable=FunctionTrial)
        seconds = time.perf_counter() - started
        conductor.check()
    finally:
        local.stop()
    done = sum(trial.outcome is Outcome.SUCCEEDED for trial in study.trials)
    return {"trials": done, "seconds": seconds, "driver_mib": psutil.Process().memory_info().rss / 2**20}


def measured(*command: str) -> dict[str, float]:
    """What a contender says of itself, run in a process and a FORGELINE_HOME of its own."""
    with tempfile.TemporaryDirectory(prefix="fl") as home:
        done = subprocess.run(
            [sys.executable, *command], cwd=results_file.ROOT, env={**os.environ, "FORGELINE_HOME": home},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    told: dict[str, float] = json.loads(next(line for line in reversed(done.stdout.splitlines()) if line[:1] == "{"))
    return told | {"trials_per_minute": told["trials"] / told["seconds"] * 60}


def one_round(trials: int, first: int) -> dict[str, Any]:
    """Every contender once, beginning with another one in each round."""
    contenders = {
        "sweep": ("-m", "benchmarks.sweep", "--ours", str(trials)),
        "Tune, a function": (PEER, "--trials", str(trials)),
        "Tune, reuse_actors": (PEER, "--trials", str(trials), "--reuse"),
    }
    names = list(contenders)
    load_before = os.getloadavg()[0]
    found = {name: measured(*contenders[name]) for name in names[first:] + names[:first]}
    return {"load": round(load_before, 2), **found}


def summary(rounds: list[dict[str, Any]], many: dict[str, float]) -> dict[str, Any]:
    """Medians, the ratio that has a bar, and how a trial's share grows."""
    names = [name for name in rounds[0] if name != "load"]
    medians = {
        name: {
            key: round(statistics.median(each[name][key] for each in rounds), 2)
            for key in ("trials_per_minute", "driver_mib")
        }
        | {"s_per_trial": round(statistics.median(each[name]["seconds"] / each[name]["trials"] for each in rounds), 4)}
        for name in names
    }
    ratio = statistics.median(
        each["sweep"]["trials_per_minute"] / each["Tune, a function"]["trials_per_minute"] for each in rounds
    )
    return {
        "trials": rounds[0]["sweep"]["trials"],
        "medians": medians,
        "ratio": round(ratio, 2),
        "at_least": BAR,
        "met": ratio >= BAR,
        "sweep_of_many": {
            "trials": many["trials"],
            "s_per_trial": round(many["seconds"] / many["trials"], 4),
            "driver_mib": round(many["driver_mib"], 1),
        },
        "rounds": rounds,
    }


def main() -> int:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--ours", type=int, help="only so many trials of ours, in this process; prints JSON")
    arguments = parser.parse_args()
    if arguments.ours is not None:
        print(json.dumps(ours(arguments.ours)))
        return 0
    rounds = [one_round(arguments.trials, number % 3) for number in range(arguments.rounds)]
    found = summary(rounds, measured("-m", "benchmarks.sweep", "--ours", str(arguments.many)))
    print(json.dumps({key: value for key, value in found.items() if key != "rounds"}, indent=1))
    print(f"wrote {results_file.write('sweep', {'trials of no length': found})}")
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
