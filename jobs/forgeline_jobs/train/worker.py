"""The training loop of one worker: everything in here runs inside a Ray Train worker process.

The worker never talks to MLflow or to the ledger. It writes to its spool, its log and the run's folder; the driver
reads them. A dead tracker therefore cannot stop a step.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgeline.paths import RunPaths
from forgeline_jobs.worker_output import redirect_output

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
        pretrained: folder of the bundle whose weights training starts from, or None.
    """

    spec: str
    run_id: str
    home: str
    attempt: int
    checkpoint: str | None
    pretrained: str | None = None

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
    redirect_output(told.paths.rank_log(attempt=told.attempt, rank=rank))
    try:
        from forgeline_jobs.train.fitting import Fitting

        Fitting(told).run()
    except BaseException as error:
        if _is_stop(error):
            return
        _record_failure(folder, rank, error)
        raise


def _is_stop(error: BaseException) -> bool:
    from forgeline_jobs.train.callbacks.step_log import StopRequested

    return isinstance(error, StopRequested)


def _record_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Leave the evidence of which rank failed and why; the first rank to fail keeps its place.

    On a full disk there is no evidence, and the error itself goes on its way.
    """
    traceback.print_exc()
    evidence = {"rank": rank, "type": type(error).__name__, "message": str(error)}
    temporary = folder / f".{FAILURE}.{rank}"
    with suppress(OSError):
        temporary.write_text(json.dumps(evidence), encoding="utf-8")
        os.link(temporary, folder / FAILURE)
    with suppress(OSError):
        temporary.unlink()
