"""One attempt: a Ray Train worker group from start to end, and the cause when it ends badly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeline.ledger.states import Reason
from forgeline.spec.envelope import Resources
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.worker import FAILURE, Job, train_worker

# Exceptions of a worker that say more than "the user's code raised".
_OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")
_NON_FINITE = ("NonFiniteLoss",)
# What a collective raises when a peer is gone (torch.distributed with NCCL, and with gloo).
_LOST_CONTACT = ("DistBackendError", "DistNetworkError")
_LOST_CONTACT_MARKS = ("gloo/transport", "Connection closed by peer")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended badly, from the evidence it left."""

    reason: Reason
    message: str


def run_attempt(job: Job, spec: TrainSpec, *, cluster: bool) -> Failure | None:
    """Run the worker group to its end.

    Args:
        job: what the workers are told.
        spec: the resolved spec.
        cluster: whether nodes must reach each other; elsewhere everything stays on loopback, as local Ray does.

    Returns:
        None when the workers ended as they should (finished, or stopped as asked), else the failure.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from forgeline_jobs.train.rendezvous import LOOPBACK, Rendezvous

    resources = spec.resources
    trainer = DataParallelTrainer(
        train_worker,
        train_loop_config=job.to_dict(),
        backend_config=Rendezvous(host=None if cluster else LOOPBACK),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker=per_worker(resources),
        ),
        run_config=RunConfig(
            name=f"attempt-{job.attempt}",
            storage_path=str(job.paths.root / "ray"),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        return _cause(error, job.paths.attempt(job.attempt))
    return None


def per_worker(resources: Resources) -> dict[str, float]:
    """What Ray is to reserve for each worker, under Ray's names.

    >>> per_worker(Resources(cpus_per_worker=2, memory_per_worker="1KiB"))
    {'CPU': 2.0, 'memory': 1024}
    """
    memory = resources.memory_per_worker
    wanted = {
        "CPU": resources.cpus_per_worker,
        "GPU": resources.gpus_per_worker,
        "memory": memory.bytes if memory is not None else 0,
    }
    return {name: amount for name, amount in wanted.items() if amount}


def _cause(error: Exception, folder: Path) -> Failure:
    """From a worker's own evidence first, from Ray's exception where the worker could leave none."""
    evidence = folder / FAILURE
    own = json.loads(evidence.read_text(encoding="utf-8")) if evidence.exists() else None
    if own is not None and not _lost_contact(own):
        return _own_cause(own)
    from ray.exceptions import OutOfMemoryError, RayActorError, WorkerCrashedError

    chain = _chain(error)
    if any(isinstance(failure, OutOfMemoryError) for failure in chain):
        return Failure(reason=Reason.OUT_OF_MEMORY, message="a worker was killed because its node ran out of memory")
    if own is not None:
        return Failure(
            reason=Reason.NODE_LOST, message=f"a worker process died; rank {own['rank']} lost contact with it"
        )
    for failure in chain:
        if isinstance(failure, RayActorError | WorkerCrashedError):
            return Failure(
                reason=Reason.NODE_LOST, message=f"a worker process died without a word: {_first_line(failure)}"
            )
    return Failure(reason=Reason.PLATFORM_ERROR, message=f"{type(error).__name__}: {_first_line(error)}")


def _lost_contact(evidence: dict[str, Any]) -> bool:
    """A symptom on a rank that lives: whichever rank fails by its own fault writes its evidence before this one."""
    marked = any(mark in evidence["message"] for mark in _LOST_CONTACT_MARKS)
    return marked or evidence["type"] in _LOST_CONTACT


def _own_cause(evidence: dict[str, Any]) -> Failure:
    kind, message = evidence["type"], evidence["message"]
    if kind in _NON_FINITE:
        return Failure(reason=Reason.NON_FINITE_LOSS, message=message)
    reason = Reason.OUT_OF_MEMORY if kind in _OUT_OF_MEMORY else Reason.USER_ERROR
    return Failure(reason=reason, message=f"{kind} on rank {evidence['rank']}: {message}")


def _chain(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and what each worker raised.

    Ray Train keeps what it wraps in an attribute, and only that survives the way from the controller's process to this
    one: pickle drops `__cause__`.
    """
    wrapped = [getattr(error, name, None) for name in ("health_check_failure", "controller_failure")]
    inner = [*getattr(error, "worker_failures", {}).values(), *wrapped, error.__cause__]
    return [error, *(found for failure in inner if failure is not None for found in _chain(failure))]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
