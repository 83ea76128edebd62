"""How long a run stands still when a worker is killed, against the time that it took to start, in the same run.

    python -m benchmarks.recovery               # writes benchmarks/results/recovery.json

jobs/specs/digits.yaml on two workers, a checkpoint every 10 steps, one of the workers killed (SIGKILL) after step 15.
`first_step_s` is from the command to the end of the first step of all, `recovery_s` from the kill to the end of the
first step that the next attempt does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import forgeline as fl
from benchmarks import results_file
from benchmarks.bars import SPECS
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.verify_resume.interruption import kill_at

KILLED_AFTER, STEPS = 15, 40
CHANGES: dict[str, Any] = {
    "register": None,
    "trainer.epochs": None,
    "trainer.steps": STEPS,
    "trainer.trace": True,
    "checkpoint.every": "10step",
    "retry": {"node_lost": 1},
}


def measure() -> dict[str, float]:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="fl") as home:
        os.environ["FORGELINE_HOME"] = home
        started = time.time()
        run = fl.run(SPECS / "digits.yaml", set=CHANGES, detach=True)
        kill_at(run, KILLED_AFTER)
        killed = time.time()
        if run.wait() != "succeeded":
            raise RuntimeError(f"{run.state}: {run.message}")
        return {
            "first_step_s": _first_step(run.paths.spool(attempt=1, rank=0)) - started,
            "recovery_s": _first_step(run.paths.spool(attempt=2, rank=0)) - killed,
        }


def _first_step(spool: Path) -> float:
    """When the first step of an attempt was done, in seconds since 1970."""
    lines = SpoolReader(spool).read_new()
    return float(next(line["time"] for line in lines if "train/loss" in line.get("values", {}))) / 1000


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    found = [measure() for _ in range(parser.parse_args().rounds)]
    median = {key: round(statistics.median(row[key] for row in found), 2) for key in found[0]}
    ratio = round(statistics.median(row["recovery_s"] / row["first_step_s"] for row in found), 3)
    row = {"median": median, "ratios": {"recovery against the first start": ratio}, "rounds": found}
    print(json.dumps({"median": median, "ratio": ratio}, indent=1))
    print(f"wrote {results_file.write('recovery', {'SIGKILL of a worker': row})}")


if __name__ == "__main__":
    main()
