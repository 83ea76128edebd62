"""A worker process that stays between the runs of one worker each, such as the trials of a sweep.

A new worker imports torch and Lightning for ten seconds and more, a trial may train for two. A run that failed takes
its worker with it, so that whatever it did to the process ends there; so does one with another share of the machine.
Runs of several workers, and those of strategies that keep their state in the process (DeepSpeed, FSDP), get new ones.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from forgeline_jobs.train.places import per_worker
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.worker import Job, train_worker

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class KeptWorkerFailed(Exception):
    """The worker raised, or died.

    Attributes:
        worker_failures: by rank, as Ray Train's own errors have them.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.worker_failures = {0: error}


class KeptWorker:
    """A handle in the process that drives the runs, one after another."""

    def __init__(self) -> None:
        self._actor: ActorHandle[Any] | None = None
        self._needs: Mapping[str, float] | None = None

    def run(self, job: Job, spec: TrainSpec) -> None:
        """Train in it to the end.

        Raises:
            KeptWorkerFailed: the worker raised, or died; the next run gets a new one.
        """
        import ray

        actor = self._ready(per_worker(spec.resources))
        try:
            ray.get(actor.train.remote(job.to_dict()))
        except Exception as error:
            self.end()
            raise KeptWorkerFailed(error) from error

    def end(self) -> None:
        """Take the process away without asking."""
        import ray

        actor, self._actor = self._actor, None
        if actor is not None:
            with contextlib.suppress(Exception):
                ray.kill(actor)

    def _ready(self, needs: Mapping[str, float]) -> ActorHandle[Any]:
        if self._actor is not None and self._needs != needs:
            self.end()
        actor = self._actor
        if actor is None:
            import ray

            others = dict(needs)
            cpus, gpus, memory = others.pop("CPU", 0), others.pop("GPU", 0), others.pop("memory", None)
            kept = ray.remote(_Trainee).options(
                num_cpus=cpus,
                num_gpus=gpus,
                memory=memory,
                max_restarts=0,
                scheduling_strategy="DEFAULT",  # outside of the driving actor's own placement group
            )
            actor = cast("ActorHandle[Any]", kept.remote())
            self._actor, self._needs = actor, needs
        return actor


class _Trainee:
    """What is in the process."""

    def __init__(self) -> None:
        from forgeline_jobs.train import notices

        notices.listen()

    def train(self, job: Mapping[str, Any]) -> None:
        from ray.train import ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        os.environ.update(RANK="0", LOCAL_RANK="0", NODE_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1")
        # Without workers of its own, Ray Train trains in this process.
        alone = ScalingConfig(num_workers=0)
        DataParallelTrainer(train_worker, train_loop_config=dict(job), scaling_config=alone).fit()
        import gc

        gc.collect()


_kept: KeptWorker | None = None


@contextlib.contextmanager
def keeping() -> Iterator[KeptWorker]:
    """While inside, runs that this process drives share a worker where that is safe."""
    global _kept
    before, _kept = _kept, KeptWorker()
    try:
        yield _kept
    finally:
        _kept.end()
        _kept = before


def kept_for(spec: TrainSpec) -> KeptWorker | None:
    """The worker to share for a run; None where it gets workers of its own."""
    return _kept if spec.workers == 1 and not spec.strategy.shards else None
