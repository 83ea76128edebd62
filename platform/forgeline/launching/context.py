"""What a kind gets to work with while it runs a job in the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forgeline.errors import RunCancelled
from forgeline.launching import attempt_loss
from forgeline.launching.events import EventLog
from forgeline.launching.patience import patiently
from forgeline.launching.stopping import StopControl
from forgeline.paths import RunPaths

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import AttemptRecord
    from forgeline.settings import Settings
    from forgeline.tracking.tracker import Tracker

T = TypeVar("T")


class GivesWay(Exception):
    """Raised by a kind that is `outranked` and has saved what it has: the run waits for its turn again, and goes on."""


LEDGER_PATIENCE_S = 600.0
"""How long a run waits for a ledger that is away before it gives up."""


@dataclass(kw_only=True)
class RunContext:
    """One execution of a run. Ray is up, the MLflow run and the ledger row exist, an attempt is open.

    Attributes:
        run_id: the identity of the run, for life.
        spec: the checked specification.
        paths: where the run keeps its files.
        settings: of this installation.
        ledger: the authority on runs.
        tracker: the MLflow store.
        resume_from: folder of checkpoints to continue from, where any were written; None in a new run.
        attempt: number of the open attempt, from 1.
        cluster: address of a remote cluster; None for local Ray.
        workers: that this host holds room for as long as the run lasts; None on a cluster, which gives room itself.
        grace_s: seconds between a wish to stop and the kill.
        progressed: to be called whenever the work got on; `max_idle` counts from the last time.
        outranked: whether a run of higher priority waits for what this one holds; a kind that can go on later asks,
            saves what it has, and raises `GivesWay`.
        until: length of training, such as `4ep`, after which a kind that can pauses: it saves what it has, asks `stop`
            for that, and raises RunCancelled. None to go to the end.
        first_step: optimizer step that the open attempt goes on from; None until it is told.
        deadline_s: seconds from the start of execution to the deadline; None without one.
    """

    run_id: str
    spec: Any
    paths: RunPaths
    settings: Settings
    ledger: Ledger
    tracker: Tracker
    attempt: int
    events: EventLog
    stop: StopControl
    resume_from: Path | None = None
    cluster: str | None = None
    workers: int | None = None
    deadline_s: float | None = None
    watch: Callable[[Path, int | None], None] = field(default=lambda path, first_step: None)
    grace_s: float = 30.0
    progressed: Callable[[], None] = field(default=lambda: None)
    outranked: Callable[[], bool] = field(default=lambda: False)
    until: str | None = None
    first_step: int | None = None

    def emit(self, event: str, /, **fields: Any) -> None:
        """Tell whoever follows the run something; `forgeline.cli.progress.describe` knows the usual events."""
        self.events.emit(event, **fields)

    def message(self, text: str, *, level: str = "info") -> None:
        """Tell the user one line."""
        self.emit("message", text=text, level=level)

    def cancel_requested(self) -> bool:
        """Whether the run should save what it has and raise RunCancelled: the user's wish, or the deadline.

        From then on `paths.stop_request(attempt=…)` exists as well, for workers that share the file system.
        """
        return self.stop.requested()

    def watch_spool(self, path: Path) -> None:
        """Ship what a worker of the open attempt appends to this file to MLflow, and show its progress.

        Points go to the run's own keys once an event `checkpoint` covers their step, or the run succeeds; until then
        they are under `live/`. Of earlier attempts, what comes after the step that this one goes on from is not sent
        to the own keys any more; what they have of it already stays. Tell that step first.
        """
        self.watch(path, self.first_step)

    def begin(self) -> None:
        """Write down what the first attempt of a run has; it begins at the beginning."""
        self._patiently(lambda: self._write_down_start(None))

    def tell_attempt(self, cause: str, *, step: int | None = None) -> None:
        """Tell that an attempt after the first one begins.

        Args:
            cause: why there is another one.
            step: that it goes on from; None from the beginning.
        """
        self._patiently(lambda: self._write_down_start(step))
        self.emit("attempt", number=self.attempt, cause=cause, step=step)

    def attempts(self) -> list[AttemptRecord]:
        """The run's attempts, first to last, the open one included."""
        return self._patiently(lambda: self.ledger.attempts(self.run_id))

    def describe_attempt(self, *, workers: int, chosen: Mapping[str, Any] | None = None) -> None:
        """Write down what the open attempt has where the specification leaves it open.

        Args:
            workers: that it has.
            chosen: what else was chosen, by name; a value under `why` says why.
        """
        self._patiently(
            lambda: self.ledger.describe_attempt(
                self.run_id,
                self.attempt,
                workers=workers,
                gpus=workers * self.spec.resources.gpus_per_worker,
                chosen=chosen,
            )
        )

    def next_attempt(
        self, cause: str, *, reason: str, message: str = "", step: int | None = None, outcome: str = "failed"
    ) -> int:
        """Close the open attempt, open the next one, and return its number.

        Args:
            cause: why there is another attempt, such as `node_lost`.
            reason: why the open one ended.
            message: the same for a person.
            step: that the next one goes on from.
            outcome: of the open one, a final state.

        Raises:
            RunCancelled: the run was asked to stop meanwhile.
        """
        if self.cancel_requested():
            raise RunCancelled("stopped between two attempts")
        self._patiently(
            lambda: self.ledger.end_attempt(self.run_id, self.attempt, outcome, reason=reason, message=message)
        )
        self.attempt = self._patiently(lambda: self.ledger.start_attempt(self.run_id, cause))
        self.paths.attempt(self.attempt).mkdir(parents=True, exist_ok=True)
        if self.cancel_requested():
            # Whoever passes the wish on may have seen the attempt before.
            self.paths.stop_request(attempt=self.attempt).touch()
        self.tell_attempt(cause, step=step)
        return self.attempt

    def _write_down_start(self, step: int | None) -> None:
        """Where the open attempt begins, and what of the one before is done again."""
        self.first_step = step or 0
        if self.attempt > 1:
            lost = attempt_loss.measure(
                self.ledger.attempts(self.run_id)[-2], self.paths.spool(attempt=self.attempt - 1, rank=0), step or 0
            )
            self.ledger.describe_attempt(self.run_id, self.attempt - 1, last_step=lost.last_step, lost_s=lost.seconds)
        resources = self.spec.resources
        told: dict[str, float] = {"first_step": step or 0}
        if not resources.is_elastic:  # of such a run the kind tells
            told |= {"workers": resources.most_workers, "gpus": resources.most_workers * resources.gpus_per_worker}
        self.ledger.describe_attempt(self.run_id, self.attempt, **told)

    def _patiently(self, call: Callable[[], T]) -> T:
        """A ledger that is away for a while must not cost the run an attempt."""
        return patiently(call, within_s=LEDGER_PATIENCE_S, unless=self.cancel_requested)
