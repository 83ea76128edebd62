"""What Forgeline costs: against a plain PyTorch loop, torchrun and a minimal Ray Train + Lightning script, in one run.

    python -m benchmarks.overhead                  # writes benchmarks/results/overhead.json
    python -m benchmarks.overhead alone            # one group, the others' figures kept

All train ResNet-18 on the 3,600 digits of jobs/specs/digits.yaml with AdamW and a global batch of 128. The order of
the contenders alternates between rounds, and ratios are medians of the rounds' own: a host whose speed drifts slows
neighbours in time alike. `samples_per_s` is training alone, without its first five steps; `first_step_s` is the time
from the command to the end of the first optimizer step, in a fresh process tree, with FORGELINE_HOME made anew.
"""

from __future__ import annotations

import argparse
import contextlib
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

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
WARM_UP_STEPS = 5
STEPS = 25
LISTINGS = ("--help", "runs list", "models list", "architectures list", "data list")


def forgeline(workers: int, threads: int) -> dict[str, float]:
    """`forgeline run` on the shipped spec, without registration."""
    with tempfile.TemporaryDirectory(prefix="fl") as home:
        started = time.time()
        _run(
            [
                str(BIN / "forgeline"), "run", "jobs/specs/digits.yaml", "--set", "register=null",
                "--set", "trainer.epochs=null", "--set", f"trainer.steps={STEPS}",
                "--set", f"resources.workers={workers}", "--set", f"resources.cpus_per_worker={threads}",
            ],
            {"FORGELINE_HOME": home},
        )  # fmt: skip
        [spool] = Path(home).glob("runs/*/attempts/1/spool-0.jsonl")
        return _of_spool(spool) | _started(started, spool)


def raw_ray(workers: int, threads: int) -> dict[str, float]:
    """The minimal Ray Train + Lightning script."""
    started = time.time()
    text = _run(
        [sys.executable, "benchmarks/peers/raw_ray.py", "--steps", str(STEPS), "--workers", str(workers)],
        {"OMP_NUM_THREADS": str(threads)},
    )
    return _of_peer(text, started)


def plain_torch(workers: int, threads: int) -> dict[str, float]:
    """A plain PyTorch loop, under torchrun where there are several workers."""
    launcher = [sys.executable] if workers == 1 else [str(BIN / "torchrun"), "--nproc-per-node", str(workers)]
    started = time.time()
    text = _run(
        [*launcher, "benchmarks/peers/plain_torch.py", "--steps", str(STEPS)],
        {"OMP_NUM_THREADS": str(threads)},
    )
    return _of_peer(text, started)


def listings() -> dict[str, float]:
    """Median seconds of commands that must answer at once, over five calls each."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="fl") as home:
        for listing in LISTINGS:
            seconds = []
            for _ in range(5):
                started = time.perf_counter()
                _run([str(BIN / "forgeline"), *listing.split()], {"FORGELINE_HOME": home})
                seconds.append(time.perf_counter() - started)
            found[f"forgeline {listing}"] = round(statistics.median(seconds), 3)
    return found


def memory_mib() -> dict[str, float]:
    """Largest resident memory of the command and of the driver that a short run starts, Ray's processes left out."""
    import psutil

    with tempfile.TemporaryDirectory(prefix="fl") as home:
        command = subprocess.Popen(
            [str(BIN / "forgeline"), "run", "jobs/specs/breast-cancer.yaml", "--set", "register=null",
             "--set", "trainer.epochs=2"],
            cwd=ROOT, env={**os.environ, "FORGELINE_HOME": home}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        largest = {"command": 0, "driver": 0}
        root = psutil.Process(command.pid)
        while command.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                largest["command"] = max(largest["command"], root.memory_info().rss)
                for child in root.children(recursive=True):
                    if "forgeline.launching.driver" in child.cmdline():
                        largest["driver"] = max(largest["driver"], child.memory_info().rss)
            time.sleep(0.2)
    return {name: round(size / 2**20, 1) for name, size in largest.items()}


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _of_peer(text: str, started: float) -> dict[str, float]:
    printed = json.loads(next(line for line in reversed(text.splitlines()) if line.startswith("{")))
    return {"samples_per_s": printed["samples_per_s"], "first_step_s": printed["first_step"] - started}


def _metric_lines(spool: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in spool.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "metrics"]


def _of_spool(spool: Path) -> dict[str, float]:
    """Samples per second from the step log, in which validation does not count as training time."""
    steps = [line["values"] for line in _metric_lines(spool) if "train/loss" in line["values"]]
    seconds_per_sample = [1 / values["train/samples_per_s"] for values in steps[WARM_UP_STEPS:]]
    return {"samples_per_s": 1 / statistics.fmean(seconds_per_sample)}


def _started(started: float, spool: Path) -> dict[str, float]:
    first = next(line for line in _metric_lines(spool) if "train/loss" in line["values"])
    return {"first_step_s": first["time"] / 1000 - started}


Contender = tuple[Callable[[int, int], dict[str, float]], int, int]
GROUPS: Mapping[str, Mapping[str, Contender]] = {
    "alone": {
        "forgeline, 1 worker, 1 thread": (forgeline, 1, 1),
        "plain PyTorch loop, 1 thread": (plain_torch, 1, 1),
        "forgeline, 1 worker, 2 threads": (forgeline, 1, 2),
        "plain PyTorch loop, 2 threads": (plain_torch, 1, 2),
    },
    "distributed": {
        "forgeline, 2 workers": (forgeline, 2, 1),
        "raw Ray Train + Lightning, 2 workers": (raw_ray, 2, 1),
        "torchrun, 2 workers": (plain_torch, 2, 1),
    },
}
_OURS, _RAW, _TORCHRUN = GROUPS["distributed"]
_ONE, _PLAIN_ONE, _TWO, _PLAIN_TWO = GROUPS["alone"]
# name -> measured quantity, ours, the peer
RATIOS: Mapping[str, tuple[str, str, str]] = {
    "samples/s against a plain PyTorch loop, 1 thread": ("samples_per_s", _ONE, _PLAIN_ONE),
    "samples/s against a plain PyTorch loop, 2 threads": ("samples_per_s", _TWO, _PLAIN_TWO),
    "samples/s against raw Ray Train": ("samples_per_s", _OURS, _RAW),
    "samples/s against torchrun": ("samples_per_s", _OURS, _TORCHRUN),
    "time to first step against raw Ray Train": ("first_step_s", _OURS, _RAW),
    "time to first step against torchrun": ("first_step_s", _OURS, _TORCHRUN),
}
Rounds = Mapping[str, list[dict[str, float]]]


def main() -> None:
    """Measure the groups that are asked for, print the table, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", help=f"{', '.join(GROUPS)} or commands; all when none is named")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    wanted = arguments.groups or [*GROUPS, "commands"]
    rows: dict[str, Any] = dict(results_file.read("overhead").get("rows", {}))
    for group in wanted:
        if group == "commands":
            rows[group] = {"listings_s": listings(), "memory_mib": memory_mib()}
        else:
            rows[group] = _summary(_measured(GROUPS[group], arguments.rounds))
        print(json.dumps({group: {key: value for key, value in rows[group].items() if key != "rounds"}}, indent=1))
        print(f"wrote {results_file.write('overhead', rows)}", flush=True)


def _measured(contenders: Mapping[str, Contender], rounds: int) -> Rounds:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders) if number % 2 == 0 else list(contenders)[::-1]:
            measure, workers, threads = contenders[name]
            found[name].append(measure(workers, threads))
            print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
    return found


def _summary(found: Rounds) -> dict[str, Any]:
    median = {
        name: {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        for name, rows in found.items()
    }
    ratios = {
        name: round(
            statistics.median(us[key] / them[key] for us, them in zip(found[ours], found[peer], strict=True)), 3
        )
        for name, (key, ours, peer) in RATIOS.items()
        if ours in found
    }
    return {"median": median, "ratios": ratios, "rounds": dict(found)}


if __name__ == "__main__":
    main()
