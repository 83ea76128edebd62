"""The training loop of one worker: everything in here runs inside a Ray Train worker process.

The worker never talks to MLflow or to the ledger. It writes to its spool, its log and the run's folder; the driver
reads them. A dead tracker therefore cannot stop a step.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgeline.paths import RunPaths

FAILURE = "failure.json"
RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told. It travels as plain JSON values.

    Attributes:
        spec: the resolved spec of the run, as YAML text.
        home: FORGELINE_HOME of the run.
        attempt: number of this attempt, from 1.
        checkpoint: folder to resume from, or None.
    """

    spec: str
    run_id: str
    home: str
    attempt: int
    checkpoint: str | None

    @property
    def paths(self) -> RunPaths:
        return RunPaths(Path(self.home), self.run_id)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def train_worker(job: Mapping[str, Any]) -> None:
    """Entry point of Ray Train's `train_loop_per_worker`."""
    import ray.train

    told = Job(**job)
    rank = ray.train.get_context().get_world_rank()
    folder = told.paths.attempt(told.attempt)
    _redirect_output(told.paths.rank_log(attempt=told.attempt, rank=rank))
    try:
        from forgeline_jobs.train.fitting import Fitting

        Fitting(told).run()
    except BaseException as error:
        if _is_stop(error):
            return
        _record_failure(folder, rank, error)
        raise


def _redirect_output(log: Path) -> None:
    """Send this process's stdout and stderr, C libraries included, to the rank's own log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


def _is_stop(error: BaseException) -> bool:
    from forgeline_jobs.train.callbacks.step_log import StopRequested

    return isinstance(error, StopRequested)


def _record_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Leave the evidence of which rank failed and why; the first rank to fail keeps its place."""
    traceback.print_exc()
    evidence = {"rank": rank, "type": type(error).__name__, "message": str(error)}
    temporary = folder / f".{FAILURE}.{rank}"
    temporary.write_text(json.dumps(evidence), encoding="utf-8")
    try:
        os.link(temporary, folder / FAILURE)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
