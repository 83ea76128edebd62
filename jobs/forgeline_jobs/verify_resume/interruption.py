"""A run of which one worker is killed at a step, and that goes on by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import forgeline as fl
from forgeline.errors import RunFailed
from forgeline.launching.events import EXIT_CODES
from forgeline_jobs.train import heartbeat
from forgeline_jobs.verify_resume import comparison

_POLL_S = 0.002
_NEAR_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Which worker was killed, and the last step that it had done."""

    rank: int
    pid: int
    step: int


def kill_at(run: fl.Run, step: int) -> Kill:
    """Kill the last rank of a run's first attempt as soon as it has done a step.

    Raises:
        RunFailed: the run ended before that.
    """
    folder = run.paths.attempt(1)
    looked_at = time.monotonic()
    while True:
        traces = comparison.traces(folder)
        rank = max(traces, default=0)
        if traces and _last_step(traces[rank]) >= step:
            beat = heartbeat.read_all(folder)[rank]
            os.kill(beat.who.pid, signal.SIGKILL)
            return Kill(rank=rank, pid=beat.who.pid, step=_last_step(traces[rank]))
        if time.monotonic() - looked_at > 1:
            looked_at = time.monotonic()
            if run.state in EXIT_CODES:
                raise RunFailed(
                    f"run {run.id} {run.state} before it could be killed after step {step}: {run.message or ''}; "
                    "set --at to an earlier step",
                    reason="platform_error",
                )
        time.sleep(_POLL_S)


def _last_step(path: Path) -> int:
    """The last step that a trace has whole; 0 before there is one."""
    near, size = _NEAR_BYTES, path.stat().st_size
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - near))
            *lines, _ = file.read().split(b"\n")
            if len(lines) > 1 or near >= size:
                return int(json.loads(lines[-1])["step"]) if lines else 0
            near *= 2  # a line of many micro-batches is long
