"""Kinds that are one function in one Ray worker: their spec, and how it runs with the spec's resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from forgeline.errors import ForgelineError, RunCancelled, RunFailed
from forgeline.launching.worker_output import redirect_output
from forgeline.spec.envelope import Envelope

if TYPE_CHECKING:
    from pathlib import Path

    from forgeline.launching.context import RunContext

POLL_S = 0.2
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")  # Python's and torch's, which this process does not import


class TaskSpec(Envelope):
    """Base of the specs of such kinds."""

    @model_validator(mode="after")
    def _one_worker_once(self) -> Self:
        if self.resources.most_workers > 1:
            raise ValueError(
                f"got resources.workers {self.resources.workers}; kind {self.kind} runs in one worker: leave it out, "
                "and give that worker more with resources.cpus_per_worker"
            )
        if self.retry:
            raise ValueError(f"retry is for kind train; kind {self.kind} is done once: remove it, and run it again")
        return self


def run_task(
    context: RunContext, function: Callable[[dict[str, Any]], dict[str, Any]], argument: Mapping[str, Any]
) -> dict[str, Any]:
    """Run `function(argument)` in a Ray worker and wait for it.

    Raises:
        RunFailed: it raised, or its process died.
        RunCancelled: the run was asked to stop.
    """
    import ray

    resources = context.spec.resources
    log = context.paths.rank_log(attempt=context.attempt, rank=0)
    memory = resources.memory_per_worker
    remote = ray.remote(_logged).options(
        num_cpus=resources.cpus_per_worker,
        num_gpus=resources.gpus_per_worker,
        memory=memory.bytes if memory is not None else None,
        max_retries=0,
    )
    reference = remote.remote(log, function, dict(argument))
    while not ray.wait([reference], timeout=POLL_S)[0]:
        if context.cancel_requested():
            ray.cancel(reference, force=True)
            raise RunCancelled("stopped as asked")
        time.sleep(0)
    try:
        result: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        if isinstance(cause, ForgelineError):
            raise RunFailed(str(cause), reason="user_error") from error
        reason = "out_of_memory" if type(cause).__name__ in _OUT_OF_MEMORY else "user_error"
        raise RunFailed(f"{type(cause).__name__}: {cause}", reason=reason) from error
    except ray.exceptions.OutOfMemoryError as error:
        raise RunFailed("the worker was killed because its node ran out of memory", reason="out_of_memory") from error
    except ray.exceptions.RayError as error:
        raise RunFailed(f"the worker died: {str(error).splitlines()[0]}", reason="node_lost") from error
    return result


def _logged(log: Path, function: Callable[[dict[str, Any]], dict[str, Any]], argument: dict[str, Any]) -> Any:
    redirect_output(log)
    return function(argument)
