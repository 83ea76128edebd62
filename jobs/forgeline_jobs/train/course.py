"""The course of a run in the driver: attempts, each with a cause, until one ends well or a budget is spent."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import RunCancelled, RunFailed, TrackingError
from forgeline.ledger.states import Reason
from forgeline.spec.loading import dump
from forgeline.spec.units import Length
from forgeline_jobs.train import changes, checkpoint
from forgeline_jobs.train.attempt import run_attempt
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies
from forgeline_jobs.train.elasticity import GROW_AFTER_LIMIT_S, GROW_AFTER_S, Growth, wait_for_room
from forgeline_jobs.train.plan.choice import divisors
from forgeline_jobs.train.plan.taking import Taken, is_open, take
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.schedule import Schedule
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
        # Room on this host was waited for in its queue, and is held.
        self._counts = spec.worker_counts if context.workers is None else (context.workers,)
        self._spent: dict[str, int] = {}
        self._taken: Taken | None = None
        self._resized = 0
        self._settles = False

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
        self._taken = self._take()
        while True:
            spec = self._lay_out()
            made = self._changes_made(folder)
            job = Job(
                spec=dump(changes.with_changes(spec, made)),
                run_id=context.run_id,
                home=str(context.paths.home),
                attempt=context.attempt,
                checkpoint=str(folder) if folder else None,
                pretrained=pretrained,
                parts=parts,
                until=self._until(made),
            )
            context.watch_spool(context.paths.spool(attempt=context.attempt, rank=0))
            with self._growth(spec, first_step=_step_of(folder) or 0) as growth:
                failure = run_attempt(
                    job,
                    spec,
                    cluster=bool(context.cluster),
                    grace_s=context.grace_s,
                    progressed=context.progressed,
                    waits_for_room=not self._spec.resources.is_elastic,
                )
            if self._is_whole(job):
                return job
            paused = job.until not in (None, context.until) and growth.asked_for is None
            if failure is None and paused and not context.cancel_requested():
                folder = self._change(made)
                continue
            if failure is None and (growth.asked_for is None or context.cancel_requested()):
                return job
            if context.cancel_requested():
                # Workers that are being stopped die in many ways.
                raise RunCancelled(failure.message if failure is not None else "stopped as asked")
            folder = self._next(failure, spec, growth.asked_for)

    def _next(self, failure: Failure | None, spec: TrainSpec, asked_for: int | None) -> Path | None:
        """Open a further attempt.

        Args:
            failure: of the one before; None where it ended to have more workers.
            spec: that it had.
            asked_for: workers that it was asked to end for.

        Returns:
            The checkpoint to go on from.

        Raises:
            RunFailed: there is to be none.
        """
        context, self._settles = self._context, True
        if failure is not None:
            self._go_on(failure, spec)
            folder, cause = self._newest(), failure.reason.value
            context.next_attempt(cause, reason=cause, message=failure.message, step=_step_of(folder))
            return folder
        self._resized += 1
        message = f"there is room for {asked_for} workers in place of {spec.workers}; a checkpoint was written"
        context.message(message)
        folder, cause = self._newest(), Reason.RESIZED.value
        context.next_attempt(cause, reason=cause, message=message, step=_step_of(folder), outcome="cancelled")
        return folder

    def _changes_made(self, folder: Path | None) -> int:
        """Changes of the settings that come before a checkpoint, or with it."""
        if not self._spec.changes:
            return 0
        schedule = Schedule.of_run(self._spec, len(prepare(self._spec.data, verify=False).splits["train"]))
        return changes.made_by(self._spec.changes, _step_of(folder) or 0, steps_per_epoch=schedule.steps_per_epoch)

    def _until(self, made: int) -> str | None:
        """Where an attempt is to end before the run does: at the next change, or where the whole run pauses."""
        left, pause = self._spec.changes[made:], self._context.until
        if not left or (pause is not None and Length.parse(pause) <= left[0].after):
            return pause
        return str(left[0].after)

    def _change(self, made: int) -> Path | None:
        """Open the attempt that goes on with other settings; the one before has written a checkpoint."""
        context, change = self._context, self._spec.changes[made]
        message = f"{', '.join(f'{key} {value}' for key, value in change.values.items())} from {change.after} on"
        context.message(message)
        folder, cause = self._newest(), Reason.CHANGED.value
        context.next_attempt(cause, reason=cause, message=message, step=_step_of(folder), outcome="cancelled")
        return folder

    def _growth(self, spec: TrainSpec, *, first_step: int) -> Growth:
        """Looks for room while an attempt trains; only a cluster gets nodes. Each time that it grew it waits longer."""
        context = self._context
        stop = context.paths.stop_request(attempt=context.attempt)
        return Growth(
            context.paths.attempt(context.attempt),
            resources=spec.resources,
            now=spec.workers,
            counts=self._counts,
            first_step=first_step,
            after_s=min(GROW_AFTER_S * 2**self._resized, GROW_AFTER_LIMIT_S),
            ask=stop.touch,
        )

    def _take(self) -> Taken | None:
        """What `auto` takes, once for the life of the run: the checkpoints belong to the strategy."""
        context, spec = self._context, self._spec
        if not is_open(spec):
            return None
        earlier = next((attempt.chosen for attempt in reversed(context.attempts()) if attempt.chosen), None)
        if earlier is not None and (spec.strategy.name != "auto" or "strategy" in earlier):
            known = {name: earlier.get(name) for name in ("strategy", "micro_batch")}
            return Taken(**known, why=earlier.get("why", ""))
        taken = take(spec.with_workers(spec.workers), stopped=context.cancel_requested)
        context.message(f"auto takes {_in_words(taken)}; {taken.why}")
        if taken.strategy is not None:
            _track(context, {"strategy.taken": taken.strategy, "strategy.why": taken.why}, what="what auto took")
        return taken

    def _lay_out(self) -> TrainSpec:
        """The spec with what it leaves open filled in, which is written down with the attempt."""
        spec, taken, chosen = self._spec, self._taken, dict[str, Any]()
        if spec.resources.is_elastic:
            chosen["workers"] = count = self._place()
            spec = spec.with_workers(count)
        if taken is not None and spec.strategy.name == "auto":
            chosen["strategy"] = taken.strategy
            spec = spec.model_copy(update={"strategy": taken.config})
        if taken is not None and spec.trainer.micro_batch == "auto":
            chosen["micro_batch"] = size = _largest(spec, at_most=taken.micro_batch or spec.share)
            spec = spec.model_copy(update={"trainer": spec.trainer.model_copy(update={"micro_batch": size})})
        if chosen:
            why = {} if taken is None else {"why": taken.why}
            self._context.describe_attempt(workers=spec.workers, chosen=chosen | why)
        return spec

    def _place(self) -> int:
        """How many workers the next attempt has."""
        context, spec = self._context, self._spec
        count = wait_for_room(
            spec.resources,
            self._counts,
            settles=self._settles,
            stopped=context.cancel_requested,
            say=context.message,
        )
        context.message(f"{count} of {spec.resources.workers} workers")
        return count

    def _go_on(self, failure: Failure, spec: TrainSpec) -> None:
        """Pay for a further attempt, and wait before it.

        Raises:
            RunFailed: there is to be none.
        """
        smaller = smaller_micro_batch(spec, failure) if self._spec.trainer.micro_batch == "auto" else None
        if smaller is None:
            self._spend(failure, spec)
            self._back_off(failure.message, self._spent[failure.reason.value])
            return
        size = spec.trainer.micro_batch
        assert self._taken is not None
        self._taken = replace(self._taken, micro_batch=smaller, why=f"memory ran out with {size} samples at once")
        self._back_off(f"{failure.message}; micro-batches of {smaller} in place of {size}", 1)

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

    def _spend(self, failure: Failure, spec: TrainSpec) -> None:
        """Take one restart from the cause's budget; what is left of the others' stays.

        Raises:
            RunFailed: none is left.
        """
        cause = failure.reason.value
        budget = next((times for known, times in self._spec.retry.items() if known == cause), self._implied(failure))
        if self._spent.get(cause, 0) >= budget:
            least = _goes_by_samples(spec, failure) and self._spec.trainer.micro_batch == "auto"
            more = f"; {spec.trainer.micro_batch} samples at once are the least that trainer.micro_batch can be"
            raise RunFailed(failure.message + (more if least else ""), reason=cause)
        self._spent[cause] = self._spent.get(cause, 0) + 1

    def _implied(self, failure: Failure) -> int:
        """The budget of a cause that `retry` leaves out: who gives a range of workers wants to lose some of them."""
        resources = self._spec.resources
        lost = failure.reason in (Reason.NODE_LOST, Reason.PREEMPTED)
        return resources.most_workers - resources.fewest_workers if lost else 0

    def _back_off(self, message: str, restarts: int) -> None:
        delay_s = min(BACK_OFF_S * 2 ** (restarts - 1), BACK_OFF_LIMIT_S)
        self._context.message(f"{message}; starting again in {delay_s:.0f} s", level="warning")
        until = time.monotonic() + delay_s
        while time.monotonic() < until:
            if self._context.cancel_requested():
                raise RunCancelled("cancelled between two attempts")
            time.sleep(0.1)


def smaller_micro_batch(spec: TrainSpec, failure: Failure) -> int | None:
    """The micro-batch to go on with after a failure.

    Args:
        spec: that the attempt had, with a certain micro-batch.
        failure: of the attempt.

    Returns:
        None where a smaller one is no remedy, or there is none.
    """
    size = spec.trainer.micro_batch
    if not _goes_by_samples(spec, failure):
        return None
    assert isinstance(size, int)
    smaller = _largest(spec, at_most=size // 2)
    return smaller if smaller < size else None


def _goes_by_samples(spec: TrainSpec, failure: Failure) -> bool:
    """Whether the memory that ran out is that which samples are in; with GPUs, that of the host has other things."""
    return failure.reason is Reason.OUT_OF_MEMORY and (failure.of_device or not spec.resources.gpus_per_worker)


def _largest(spec: TrainSpec, *, at_most: int) -> int:
    """The largest micro-batch of a worker's share that is no larger; the smallest there is where all are."""
    sizes = list(divisors(spec.share, getattr(spec.architecture, "fewest_samples", 1)))
    return next((size for size in sizes if size <= at_most), sizes[-1])


def _in_words(taken: Taken) -> str:
    size = f"micro-batches of {taken.micro_batch}" if taken.micro_batch is not None else None
    return ", ".join(filter(None, (taken.strategy, size)))


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
    return None if folder is None else checkpoint.step_of(folder.name)
