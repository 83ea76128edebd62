"""One function in one Ray worker, with the spec's resources; its output goes to the attempt's log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, RunCancelled, RunFailed
from forgeline_jobs.worker_output import redirect_output

if TYPE_CHECKING:
    from pathlib import Path

    from forgeline.launching.context import RunContext

POLL_S = 0.2


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
    remote = ray.remote(_logged).options(
        num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker, max_retries=0
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
        raise RunFailed(f"{type(cause).__name__}: {cause}", reason="user_error") from error
    except ray.exceptions.RayError as error:
        raise RunFailed(f"the worker died: {str(error).splitlines()[0]}", reason="node_lost") from error
    return result


def _logged(log: Path, function: Callable[[dict[str, Any]], dict[str, Any]], argument: dict[str, Any]) -> Any:
    redirect_output(log)
    return function(argument)
