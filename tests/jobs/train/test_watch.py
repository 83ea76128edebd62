"""What a driver does to workers that do not hear it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from forgeline.ledger import driver_process
from forgeline_jobs.train import heartbeat
from forgeline_jobs.train.heartbeat import Heart, Identity, Phase
from forgeline_jobs.train.watch import end_workers


def test_workers_are_ended_and_those_that_are_done_are_left_alone(tmp_path: Path) -> None:
    sleeping = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    for rank, process in enumerate(sleeping):
        started = driver_process.started_s(process.pid)
        heart = Heart(tmp_path / f"heartbeat-{rank}", replace(Identity.own(rank), pid=process.pid, started_s=started))
        heart.beat(Phase.FORWARD if rank == 0 else Phase.DONE)
    try:
        end_workers(heartbeat.read_all(tmp_path))
        assert sleeping[0].wait(timeout=10) == -signal.SIGKILL
        assert sleeping[1].poll() is None
    finally:
        for process in sleeping:
            process.kill()
            process.wait()
