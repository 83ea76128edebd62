"""One attempt: a Ray Train worker group from start to end, and the cause when it ends badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forgeline_jobs.train import causes
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.kept_worker import kept_for
from forgeline_jobs.train.places import per_worker
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.watch import AttemptWatch
from forgeline_jobs.train.worker import Job, train_worker

if TYPE_CHECKING:
    from ray.train.v2.api.config import FailureConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


def run_attempt(
    job: Job,
    spec: TrainSpec,
    *,
    cluster: bool,
    grace_s: float,
    progressed: Callable[[], None],
    waits_for_room: bool = True,
) -> Failure | None:
    """Run the worker group to its end.

    Args:
        job: what the workers are told.
        spec: the resolved spec.
        cluster: whether nodes must reach each other; elsewhere everything stays on loopback, as local Ray does.
        grace_s: seconds that workers have for a last checkpoint when they are told to leave.
        progressed: called when all workers got on.
        waits_for_room: whether it waits for as long as it takes until there is room for the workers; else it fails.

    Returns:
        None when the workers ended as they should (finished, or stopped as asked), else the failure.
    """
    folder = job.paths.attempt(job.attempt)
    watch = AttemptWatch(
        folder,
        hang_after_s=spec.hang_after.total_seconds(),
        grace_s=grace_s,
        progressed=progressed,
        asks_nodes=cluster,
    )
    failed: Exception | None = None
    kept = kept_for(spec)
    with watch:
        try:
            if kept is not None:
                kept.run(job, spec)
            else:
                _trainer(job, spec, cluster=cluster, waits_for_room=waits_for_room).fit()
        except Exception as error:
            failed = error
    found = causes.find(failed, causes.Scene(folder=folder, deaths=watch.deaths))
    if found is not None and kept is not None:
        # One that was told to leave did so without an error, and would be told again.
        kept.end()
    return found


def _trainer(job: Job, spec: TrainSpec, *, cluster: bool, waits_for_room: bool) -> DataParallelTrainer:
    """A worker group of Ray Train's."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from forgeline_jobs.train.rendezvous import LOOPBACK, Rendezvous

    resources = spec.resources
    return DataParallelTrainer(
        train_worker,
        train_loop_config=job.to_dict(),
        backend_config=Rendezvous(host=None if cluster else LOOPBACK),
        scaling_config=ScalingConfig(
            num_workers=spec.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker=per_worker(resources),
        ),
        run_config=RunConfig(
            name=f"attempt-{job.attempt}",
            storage_path=str(job.paths.root / "ray"),
            failure_config=_failures(waits_for_room=waits_for_room),
        ),
    )


def _failures(*, waits_for_room: bool) -> FailureConfig:
    """No budgets: they are the platform's, since Ray would go on from the same checkpoint, and tell nobody."""
    from ray.train.v2.api.config import FailureConfig

    limit = -1 if waits_for_room else 0
    return FailureConfig(max_failures=0, max_preemption_failures=0, controller_failure_limit=limit)
