"""The training loop of one worker: everything in here runs inside a Ray Train worker process.

The worker never talks to MLflow or to the ledger. It writes to its spool, its log and the run's folder; the driver
reads them. A dead tracker therefore cannot stop a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forgeline.launching.worker_output import redirect_output
from forgeline.paths import RunPaths
from forgeline_jobs.train import stuck
from forgeline_jobs.train.evidence import record_failure
from forgeline_jobs.train.heartbeat import Heart, Identity, Phase
from forgeline_jobs.train.notices import NOTICES

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
        parts: the same of modules that start from a bundle of their own, by their names.
        until: length of training after which it pauses; None for its end.
    """

    spec: str
    run_id: str
    home: str
    attempt: int
    checkpoint: str | None
    pretrained: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    until: str | None = None

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
    stuck.be_askable(folder, rank)
    who = Identity.own(rank, node=ray.get_runtime_context().get_node_id())
    heart = Heart(told.paths.heartbeat(attempt=told.attempt, rank=rank), who)
    NOTICES.begin(folder, rank)
    try:
        from forgeline_jobs.train.fitting import Fitting

        Fitting(told, heart=heart).run()
    except BaseException as error:
        if _is_stop(error):
            return
        record_failure(folder, rank, error)
        raise
    finally:
        NOTICES.end()
        heart.beat(Phase.DONE)


def _is_stop(error: BaseException) -> bool:
    from forgeline_jobs.train.callbacks.step_log import StopRequested

    return isinstance(error, StopRequested)
