"""A sweep that is killed again and again ends as one that nobody touched: `make acceptance ONLY=sweep-kill`.

One process of the sweep's own session gets SIGKILL at a random moment: the driver, the raylet, a kept worker, or the
actor that drives a trial. What ends the sweep is answered with `forgeline run SPEC --resume RUN`, what does not, the
sweep has to get over by itself.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

import forgeline as fl
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.states import FINAL
from forgeline.settings import settings
from forgeline_jobs.sweep.trials import LABEL, Outcome, Trial, read

Say = Callable[[str], None]

TRAIN: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [32]},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "trainer": {"epochs": 9},
    "checkpoint": {"every": "1ep"},
}
VICTIMS = ("driver", "raylet", "worker", "trial")
ENDING = VICTIMS[:2]
WORKING = ("ray::_Trainee", "ray::ResourceTrainable", "ray::TrialRun")
LEFT_ALONE_S = (1.0, 14.0)
"""A kill comes so many seconds after the last one, or after the sweep was taken up again."""
BY_ITSELF = 3
"""Kills in one execution that the sweep gets over by itself; a trial that dies more often is given up."""
LIMIT_S = 900.0


@dataclass(kw_only=True)
class Killed:
    """What was done to a sweep.

    Attributes:
        victims: kinds of the processes that were killed, in order.
        resumes: executions after the first.
        orphans: actors and workers of a sweep that outlived its driver by ten seconds.
    """

    victims: list[str] = field(default_factory=list)
    resumes: int = 0
    orphans: int = 0


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """One trial at a time, and four, and a population; killed so often, or until it ends."""
    return {
        "20 trials, one at a time, 50 kills": partial(compared, say, at_once=1, kills=50, epochs=81),
        "20 trials, four at a time, 50 kills": partial(compared, say, at_once=4, kills=50, epochs=81),
        "a population of 8, two at a time, 30 kills": partial(
            compared, say, at_once=2, kills=30, epochs=80, trials=8, population=True
        ),
    }


def compared(
    say: Say, *, at_once: int, kills: int, epochs: int, trials: int = 20, population: bool = False, seed: int = 0
) -> dict[str, Any]:
    """A sweep that is killed, and the same undisturbed.

    With several at once the suggestions hang on which trial ends first, so that only their number is held; what a
    population does hangs on nothing of the kind.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        spec = write_spec(Path(folder), at_once=at_once, epochs=epochs, trials=trials, population=population)
        same = at_once == 1 or population
        before = os.environ.get("FORGELINE_HOME")
        os.environ.update(FORGELINE_HOME=f"{folder}/home", FORGELINE_LOCAL_CPUS=str(max(2, at_once)))
        Path(folder, "home").mkdir()
        try:
            found: dict[str, Any] = {}
            whole, other = Sweep(spec), Sweep(spec)
            if same:
                whole.start()
                whole.wait()
            done = other.kill_often(kills, random.Random(seed), say)
            if same:
                found["differences"] = differences(whole.trials(), other.trials())
            found |= whole_and_once(other, trials)
        finally:
            os.environ.pop("FORGELINE_LOCAL_CPUS")
            if before is None:
                del os.environ["FORGELINE_HOME"]
            else:
                os.environ["FORGELINE_HOME"] = before
    met = not any((found.get("differences"), found["lost"], found["repeated"], found["failed"], done.orphans))
    return {
        "at_once": at_once,
        "compared": trials,
        **found,
        "kills": len(done.victims),
        "victims": dict(Counter(done.victims)),
        "resumes": done.resumes,
        "orphans": done.orphans,
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": met,
    }


def write_spec(folder: Path, *, at_once: int, epochs: int, trials: int, population: bool = False) -> Path:
    """The sweep's file."""
    train = {**TRAIN, "trainer": {"epochs": epochs}}
    search: dict[str, Any] = {"trials": trials, "concurrent": at_once, "seed": 0}
    sweep: dict[str, Any] = {
        "kind": "sweep",
        "name": "killed",
        "train": train,
        "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "architecture.dropout": {"uniform": [0, 0.5]}},
        "search": search,
        "objective": {"metric": "val/loss"},
        "stop": {"scheduler": "asha", "grace": f"{max(1, epochs // 9)}ep", "reduction": 3},
    }
    if population:
        sweep |= {
            "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "optimizer.weight_decay": {"uniform": [0, 0.5]}},
            "search": {"algorithm": "pbt", "interval": f"{epochs // 8}ep", **search},
            "stop": {},
        }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep), encoding="utf-8")
    return path


def differences(one: Sequence[Trial], other: Sequence[Trial]) -> list[str]:
    """What differs between the trials of two sweeps, to the last digit."""
    found = [] if len(one) == len(other) else [f"{len(one)} trials and {len(other)}"]
    for a, b in zip(one, other, strict=False):
        for key in ("begun", "copies", "values", "outcome", "reports", "objectives", "metrics"):
            if getattr(a, key) != getattr(b, key):
                found.append(f"trial {a.number}: {key}: {getattr(a, key)} and {getattr(b, key)}")
    return found


def whole_and_once(sweep: Sweep, trials: int) -> dict[str, int]:
    """How many trials are lost, how many were made twice, and how many did not end well."""
    told = [entry["trial"] for entry in sweep.entries() if entry["entry"] == "asked"]
    ended = [entry["trial"] for entry in sweep.entries() if entry["entry"] == "ended"]
    runs = [run.labels[LABEL] for run in sweep.ledger.list_runs(parent=sweep.id)]
    done = [trial for trial in sweep.trials() if trial.outcome in (Outcome.SUCCEEDED, Outcome.PRUNED)]
    twice = sum(len(each) - len(set(each)) for each in (told, ended, runs))
    return {
        "lost": trials - len(set(ended)) + trials - len(set(runs)),
        "repeated": twice,
        "failed": len(sweep.trials()) - len(done),
    }


class Sweep:
    """A sweep of a file, in this FORGELINE_HOME."""

    def __init__(self, spec: Path) -> None:
        self._spec = spec
        self.id = ""
        self.ledger = Ledger(settings().resolved_ledger_url)

    def start(self) -> None:
        """Start it, or take it up again."""
        resume = ["--resume", self.id] if self.id else []
        line = [sys.executable, "-m", "forgeline.cli.app", "run", str(self._spec), "--detach", *resume]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(line)}: {done.stderr}")
        self.id = done.stdout.strip()

    def has_ended(self) -> bool:
        """Whether nothing works at it; of one whose driver died the ledger finds it out here."""
        return self.ledger.get(self.id).state in FINAL

    def wait(self) -> None:
        """Until it has succeeded."""
        until(self.has_ended, "its end")
        run = fl.get(self.id)
        if run.state != "succeeded":
            raise RuntimeError(f"sweep {run.id}: {run.state}, {run.message}")

    def entries(self) -> list[dict[str, Any]]:
        return self.ledger.journal(self.id)

    def trials(self) -> list[Trial]:
        return read(self.entries())

    def kill_often(self, kills: int, chance: random.Random, say: Say) -> Killed:
        """Kill processes of random kinds so often, or until it has succeeded, and then let it end."""
        return self._kill(iter(lambda: chance.choice(VICTIMS), None), kills, chance, say)

    def kill_in_turn(self, victims: Sequence[str], chance: random.Random, say: Say) -> Killed:
        """The same with victims of these kinds, in this order."""
        return self._kill(iter(victims), len(victims), chance, say)

    def _kill(self, victims: Iterator[str], kills: int, chance: random.Random, say: Say) -> Killed:
        done, survived = Killed(), 0
        self.start()
        while len(done.victims) < kills and self._state() != "succeeded":
            if self.has_ended():
                self._resume(done, say)
                survived = 0
            victim = next(victims)
            if survived >= BY_ITSELF:
                victim = chance.choice(ENDING)
            if self._kill_one(victim, chance, done):
                survived += 1
                ended = sum(trial.outcome is not Outcome.OPEN for trial in self.trials())
                say(f"kill {len(done.victims)}: {victim}, {ended} trials have ended")
        while self._state() != "succeeded":
            if self.has_ended():
                self._resume(done, say)
            until(self.has_ended, "its end")
        return done

    def _kill_one(self, victim: str, chance: random.Random, done: Killed) -> bool:
        """Kill a process of a kind as soon as there is one; False where the sweep ended before."""
        process = None
        while process is None:
            time.sleep(chance.uniform(*LEFT_ALONE_S))
            if self.has_ended():
                return False
            driver = self._driver()
            process = driver and _find(driver, victim, chance)
        assert driver is not None
        below = driver.children(recursive=True)
        process.kill()
        done.victims.append(victim)
        if victim in ENDING:
            until(self.has_ended, f"the end of a sweep whose {victim} was killed")
            _, left = psutil.wait_procs(below, timeout=10)
            done.orphans += sum(_name(process).startswith(WORKING) for process in left)
        return True

    def _resume(self, done: Killed, say: Say) -> None:
        record = self.ledger.get(self.id)
        say(f"{record.state}, {record.reason}: resumed")
        self.start()
        done.resumes += 1

    def _state(self) -> str:
        return self.ledger.get(self.id).state

    def _driver(self) -> psutil.Process | None:
        record = self.ledger.get(self.id)
        if record.state != "running" or record.driver_pid is None:
            return None
        try:
            return psutil.Process(record.driver_pid)
        except psutil.NoSuchProcess:
            return None


def _find(driver: psutil.Process, victim: str, chance: random.Random) -> psutil.Process | None:
    """A process of the driver's own; None where there is none of the kind just now."""
    if victim == "driver":
        return driver
    starts = {"raylet": ("raylet",), "worker": WORKING[:1], "trial": WORKING[1:]}[victim]
    found = [process for process in driver.children(recursive=True) if _name(process).startswith(starts)]
    return chance.choice(found) if found else None


def _name(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
        return line[0].rpartition("/")[2] if line else process.name()
    except psutil.NoSuchProcess:
        return ""


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something; raises RuntimeError when it does not come."""
    limit = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > limit:
            raise RuntimeError(f"waited {LIMIT_S:.0f} s for {what}")
        time.sleep(0.1)
