"""The course of a run in the driver: attempts, each with a cause, until one ends well or a budget is spent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import RunCancelled, RunFailed, TrackingError
from forgeline.spec.loading import dump
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.attempt import run_attempt
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies
from forgeline_jobs.train.plan.taking import Taken, take
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.worker import RESULT, Job

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext

BACK_OFF_S = 1.0
BACK_OFF_LIMIT_S = 60.0


class Course:
    """The attempts of one execution of a run.

    Args:
        context: of the run; its first attempt is open.
        spec: of the run.
    """

    def __init__(self, context: RunContext, spec: TrainSpec) -> None:
        self._context = context
        self._spec = spec
        self._spent: dict[str, int] = {}

    def run(self) -> Job:
        """Run attempts.

        Returns:
            What the workers of the last one were told; they ended as they should, or were stopped as asked.

        Raises:
            RunFailed: an attempt failed, and the budget of its cause is spent.
            RunCancelled: the run was asked to stop.
        """
        context, folder = self._context, None
        if context.resume_from is not None:
            folder = self._newest()
            context.tell_attempt("resume", step=_step_of(folder))
        pretrained, parts = (None, {}) if folder is not None else _bundles(context, self._spec)
        taken = self._take()
        while True:
            spec = self._lay_out(taken)
            job = Job(
                spec=dump(spec),
                run_id=context.run_id,
                home=str(context.paths.home),
                attempt=context.attempt,
                checkpoint=str(folder) if folder else None,
                pretrained=pretrained,
                parts=parts,
            )
            context.watch_spool(context.paths.spool(attempt=context.attempt, rank=0))
            failure = run_attempt(
                job,
                spec,
                cluster=bool(context.cluster),
                grace_s=context.grace_s,
                progressed=context.progressed,
            )
            if failure is None or self._is_whole(job):
                return job
            if context.cancel_requested():
                # Workers that are being stopped die in many ways.
                raise RunCancelled(failure.message)
            self._spend(failure)
            self._back_off(failure)
            folder = self._newest()
            cause = failure.reason.value
            context.next_attempt(cause, reason=cause, message=failure.message, step=_step_of(folder))

    def _take(self) -> Taken | None:
        """What `auto` takes, once for the life of the run; its checkpoints belong to that strategy."""
        context = self._context
        if self._spec.strategy.name != "auto":
            return None
        earlier = [attempt.chosen for attempt in context.attempts() if attempt.chosen]
        known = next((chosen for chosen in reversed(earlier) if "strategy" in chosen), None)
        if known is not None:
            return Taken(strategy=known["strategy"], why=known["why"])
        taken = take(self._spec, stopped=context.cancel_requested)
        context.message(f"strategy auto takes {taken.strategy}; {taken.why}")
        _track(context, {"strategy.taken": taken.strategy, "strategy.why": taken.why}, what="what auto took")
        return taken

    def _lay_out(self, taken: Taken | None) -> TrainSpec:
        """The spec with what it leaves open filled in, which is written down with the attempt."""
        if taken is None:
            return self._spec
        chosen = {"strategy": taken.strategy, "why": taken.why}
        self._context.describe_attempt(workers=self._spec.resources.workers, chosen=chosen)
        return self._spec.model_copy(update={"strategy": taken.config})

    def _is_whole(self, job: Job) -> bool:
        """Whether the last worker had handed over the model before anything went wrong."""
        return (self._context.paths.attempt(job.attempt) / RESULT).exists()

    def _newest(self) -> Path | None:
        """The checkpoint to go on from."""
        context, root = self._context, self._context.paths.checkpoints
        folder = checkpoint.newest(root, warn=self._warn)
        if self._spec.checkpoint.copy_to is not None:
            copies = CheckpointCopies(self._spec.checkpoint.copy_to, context.run_id)
            folder = copies.newest(root, unless=folder, warn=self._warn)
        if folder is None:
            context.message("no checkpoint was written before; training starts from the beginning", level="warning")
        return folder

    def _warn(self, text: str) -> None:
        self._context.message(text, level="warning")

    def _spend(self, failure: Failure) -> None:
        """Take one restart from the cause's budget; what is left of the others' stays.

        Raises:
            RunFailed: none is left.
        """
        cause = failure.reason.value
        budget = next((times for known, times in self._spec.retry.items() if known == cause), 0)
        if self._spent.get(cause, 0) >= budget:
            raise RunFailed(failure.message, reason=cause)
        self._spent[cause] = self._spent.get(cause, 0) + 1

    def _back_off(self, failure: Failure) -> None:
        restarts = self._spent[failure.reason.value]
        delay_s = min(BACK_OFF_S * 2 ** (restarts - 1), BACK_OFF_LIMIT_S)
        self._context.message(f"{failure.message}; starting again in {delay_s:.0f} s", level="warning")
        until = time.monotonic() + delay_s
        while time.monotonic() < until:
            if self._context.cancel_requested():
                raise RunCancelled("cancelled between two attempts")
            time.sleep(0.1)


def _bundles(context: RunContext, spec: TrainSpec) -> tuple[str | None, dict[str, str]]:
    """Folders of the bundles that the model and its modules start from, which are written down with the run."""
    if spec.fine_tune.pretrained is None and not spec.fine_tune.parts:
        return None, {}
    from forgeline_jobs.train import parts, transfer

    whole, of_parts = transfer.find(spec), parts.find(spec)
    digests = {f"fine_tune.parts.{name}.digest": bundle.digest for name, bundle in of_parts.items()}
    if whole is not None:
        digests["fine_tune.pretrained.digest"] = whole.digest
    _track(context, digests, what="what the run started from")
    folders = {name: str(bundle.folder.resolve()) for name, bundle in of_parts.items()}
    return None if whole is None else str(whole.folder.resolve()), folders


def _track(context: RunContext, params: dict[str, Any], *, what: str) -> None:
    """Write parameters to the tracking store; an outage costs no more than them."""
    try:
        context.tracker.log_params(context.run_id, params)
    except TrackingError as error:
        context.message(f"{what} did not reach the tracking store: {error}", level="warning")


def _step_of(folder: Path | None) -> int | None:
    """The optimizer step of a checkpoint."""
    return None if folder is None else checkpoint.Manifest.read(folder).step
