"""A run that something happens to, and what is left of it: how it ended, what was done again, what was lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import forgeline as fl
from forgeline.settings import settings
from forgeline.tracking.spool import SpoolReader
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.train import heartbeat
from forgeline_jobs.train.heartbeat import Beat
from tests.jobs.train.raylets import RayCluster

STEPS, INTERVAL = 120, 20
"""Optimizer steps of a run, and those between two checkpoints."""
MIDDLE = INTERVAL * 2 + INTERVAL // 2
LIMIT_S = 400.0

SPEC: Mapping[str, Any] = {
    "kind": "train",
    "name": "faults",
    "architecture": {"name": "faulty", "hidden": [8], "step_s": 0.05},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"steps": STEPS, "validate_every": f"{STEPS}step"},
    "checkpoint": {"every": f"{INTERVAL}step"},
    "resources": {"workers": 2},
    "grace": "20s",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_code: of the command that waited for it.
        attempts: what each attempt began for.
        redone: steps that were done again.
        lost: points of its spools that the run's own series lacks; of one that failed, that the store has nowhere.
        doubled: points of the run's own series whose step is there already.
    """

    state: str
    reason: str | None
    message: str
    exit_code: int
    attempts: tuple[str, ...]
    redone: int
    lost: int
    doubled: int

    def to_row(self) -> str:
        """As JSON, for the table of faults."""
        return json.dumps(asdict(self))


class Scene:
    """A detached run of `SPEC` with changes.

    Args:
        folder: for its specification.
        changes: dotted keys and their values.
    """

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.spec = folder / "faults.yaml"
        self.spec.write_text(json.dumps(SPEC), encoding="utf-8")
        self.cluster: RayCluster | None = None
        self.set = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
        self.run: Any = None

    def start(self, *, resume: bool = False) -> None:
        """Start the run, or take it up again."""
        arguments = ["run", str(self.spec), "--detach"]
        for change in self.set:
            arguments += ["--set", change]
        arguments += ["--resume", self.run.id] if resume else []
        if self.cluster is None:
            done = command(*arguments)
        else:
            arguments += ["--cluster", self.cluster.address]
            done = command(*arguments, environment=self.cluster.environment)
        assert done.returncode == 0, done.stderr
        self.run = fl.get(done.stdout.strip())

    def when_at(self, step: int, *, attempt: int = 1) -> dict[int, Beat]:
        """Wait until both workers have done a step; where they are."""
        found: dict[int, Beat] = {}

        def arrived() -> bool:
            found.update(heartbeat.read_all(self.run.paths.attempt(attempt)))
            return len(found) == 2 and min(beat.step for beat in found.values()) >= step

        wait_until(arrived, f"both workers to be at step {step}")
        return found

    def outcome(self) -> Outcome:
        """Wait for the end."""
        exit_code = command("runs", "wait", self.run.id, "--timeout", str(LIMIT_S)).returncode
        run = fl.get(self.run.id)
        lost, doubled = _points(run)
        before, after = run.attempts, run.attempts[1:]
        return Outcome(
            state=run.state,
            reason=run.reason,
            message=run.message or "",
            exit_code=exit_code,
            attempts=tuple(attempt.cause for attempt in run.attempts),
            redone=sum(
                max(0, (one.last_step or 0) - (next_.first_step or 0))
                for one, next_ in zip(before, after, strict=False)
            ),
            lost=lost,
            doubled=doubled,
        )


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What a person types after `forgeline`."""
    line = [sys.executable, "-m", "forgeline.cli.app", *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def signal_rank(beats: Mapping[int, Beat], rank: int, number: signal.Signals) -> None:
    """Send a signal to the process of a rank."""
    os.kill(beats[rank].who.pid, number)


def wait_until(holds: Callable[[], bool], what: str, *, within_s: float = LIMIT_S) -> float:
    """Wait for something; how many seconds it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < within_s, f"waited {within_s:.0f} s for {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def _points(run: Any) -> tuple[int, int]:
    environment = settings()
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    spooled: dict[str, set[int]] = {}
    for attempt in run.attempts:
        # What came after the step that a later attempt went on from was measured anew, the machine's load elsewhere.
        ends = min((later.first_step or 0 for later in run.attempts if later.number > attempt.number), default=STEPS)
        for line in SpoolReader(run.paths.spool(attempt=attempt.number, rank=0)).read_new():
            if line["kind"] == "metrics" and line["step"] <= ends:
                for key in line["values"]:
                    spooled.setdefault(key, set()).add(line["step"])
    lost = doubled = 0
    for key, steps in spooled.items():
        own = [point.step for point in tracker.metric_history(run.id, key)]
        # Of a run that succeeded each step is in its own series; of another the last ones, to be redone, are not.
        live = [] if run.state == "succeeded" else tracker.metric_history(run.id, f"live/{key}")
        lost += len(steps - {*own, *(point.step for point in live)})
        doubled += len(own) - len(set(own))
    return lost, doubled
