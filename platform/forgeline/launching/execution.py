"""One execution of a run, in order: record and Ray side by side, the queue, the kind, the final state.

Whatever happens once the record exists, the final state is written to the ledger and to MLflow.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from forgeline.errors import ForgelineError, TrackingError
from forgeline.kinds import get_kind
from forgeline.launching.cluster_ray import ClusterRay
from forgeline.launching.context import LEDGER_PATIENCE_S, GivesWay, RunContext
from forgeline.launching.events import EventLog, exit_code
from forgeline.launching.held_ray import HeldRay
from forgeline.launching.ledger_watch import LedgerWatch
from forgeline.launching.local_ray import LocalRay
from forgeline.launching.outcome import Outcome, outcome_of
from forgeline.launching.patience import patiently
from forgeline.launching.queueing import HostQueue
from forgeline.launching.recording import RunRecorder
from forgeline.launching.replay import finish_abandoned
from forgeline.launching.request import Request
from forgeline.launching.stopping import StopControl
from forgeline.launching.streaming import SpoolStream
from forgeline.launching.supervision import Ended, Progress, Supervisor
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.states import State
from forgeline.paths import RunPaths
from forgeline.settings import Settings
from forgeline.spec.loading import load
from forgeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from forgeline.spec.envelope import Envelope

T = TypeVar("T")

_DELIVERY_S = 20.0
_DESCRIBE_AGAIN_S = 30.0
_CLOSING_S = 60.0


class Execution:
    """Executes a request in this process.

    Args:
        request: what to run.
        settings: of this installation.
        events: where to tell about it.
        stop: takes the signals that this process gets.
        held: the Ray of the run that this one is a part of, where it is one.
    """

    def __init__(
        self,
        request: Request,
        settings: Settings,
        events: EventLog,
        stop: StopControl,
        *,
        held: HeldRay | None = None,
    ) -> None:
        self._request = request
        self._settings = settings
        self._events = events
        self._stop = stop
        self._spec: Envelope = load(request.spec, stored=request.resume is not None).spec
        self._ledger = Ledger(settings.resolved_ledger_url)
        self._tracker = Tracker(settings.resolved_tracking_uri, settings.artifact_root)
        self._recorder = RunRecorder(
            request, settings=settings, spec=self._spec, ledger=self._ledger, tracker=self._tracker
        )
        if self._spec.grace is not None:
            stop.grace_s = self._spec.grace.total_seconds()
        self._progress = Progress()
        self._worked = threading.Event()
        self._worked_s = 0.0
        self._watch: LedgerWatch | None = None
        self._queue = HostQueue(self._ledger, settings, self._spec)
        # A part of another run waits for no turn: the other one's place has room for it.
        self._waits = request.cluster is None and held is None
        self._ray: HeldRay | LocalRay | ClusterRay = held or (
            ClusterRay(counts=self._spec.worker_counts) if request.cluster else LocalRay(cpus=settings.available_cpus)
        )
        self._gpus: Sequence[str] = ()
        self._run_id = ""
        self._early_error: Exception | None = None
        self._stream: SpoolStream | None = None
        self._context_of_kind: RunContext | None = None
        self._result: dict[str, Any] = {}

    def run(self) -> int:
        """Run to the end; the exit code is the run's.

        Raises:
            ForgelineError: no record of the run could be made.
        """
        paths = self._open()
        try:
            outcome = self._run_kind(paths)
        except BaseException as error:
            if not isinstance(error, ForgelineError):
                traceback.print_exc()
            outcome = outcome_of(error, self._stop)
        self._finish(outcome)
        return exit_code(outcome.state)

    def _start_ray(self, gpus: Sequence[str] = ()) -> None:
        self._gpus = gpus
        try:
            self._ray.start(self._spec.resources, gpus)
        except SystemExit:
            # While it starts, Ray answers SIGTERM itself, with an exit.
            self._stop.request("cancelled")
        finally:
            self._stop.listen()  # Ray has set handlers of its own

    def _open(self) -> RunPaths:
        """Make the record; start Ray meanwhile when no other run is in the way."""
        with ThreadPoolExecutor(1, "record") as pool:
            opening = pool.submit(self._record)
            try:
                gpus = self._queue.free_now() if self._waits else ()
                if gpus is not None and not self._ray.started:
                    self._start_ray(gpus)
            except Exception as error:
                # It belongs to the run: raised again once there is a record to fail.
                self._early_error = error
            try:
                return opening.result()
            except BaseException:
                self._ray.stop()
                raise

    def _record(self) -> RunPaths:
        """Write down that the run exists and tell so at once: a detached command waits for no more than that."""
        self._run_id = self._recorder.open()
        paths = self._recorder.settle(self._run_id, self._events)
        self._events.emit("run", run_id=self._run_id, name=self._spec.name, kind=self._spec.kind)
        self._tell("queued")
        own = self._ledger.get(self._run_id)
        self._watch = LedgerWatch(
            renew=lambda: self._ledger.writer.renew_lease(own),
            cancel_requested=lambda: self._ledger.cancel_requested(self._run_id),
            on_lost=lambda: self._stop.request("superseded"),
        )
        return paths

    def _run_kind(self, paths: RunPaths) -> Outcome:
        if self._early_error is not None:
            raise self._early_error
        self._take_place()
        context = self._context(paths)
        describing = threading.Thread(target=self._describe, daemon=True)
        ended = self._work(context, meanwhile=describing.start)
        while isinstance(ended.error, GivesWay) and not self._stop.requested():
            self._give_way(context, str(ended.error))
            ended = self._work(context)
        self._worked.set()
        describing.join(_DELIVERY_S)
        self._result = ended.result or {}
        if ended.error is not None and not isinstance(ended.error, ForgelineError | GivesWay):
            traceback.print_exception(ended.error)
        return outcome_of(ended.error, self._stop, killed=ended.killed)

    def _work(self, context: RunContext, *, meanwhile: Callable[[], None] = lambda: None) -> Ended:
        """Let the kind work on one open attempt."""
        self._patiently(lambda: self._ledger.transition(self._run_id, "running"))
        self._tell("running")
        meanwhile()
        kind, began = get_kind(self._spec.kind).kind(), time.monotonic()
        supervisor = Supervisor(
            stop=self._stop,
            cancel_requested=lambda: self._watch is not None and self._watch.cancel_requested,
            on_stop=lambda: self._on_stop(context),
            kill=self._ray.kill,
            deadline_s=None if context.deadline_s is None else context.deadline_s - self._worked_s,
            max_idle_s=None if self._spec.max_idle is None else self._spec.max_idle.total_seconds(),
            progress=self._progress,
        )
        ended = supervisor.run(lambda: kind.execute(context))
        self._worked_s += time.monotonic() - began
        return ended

    def _give_way(self, context: RunContext, why: str) -> None:
        """Leave everything to the run that goes first, and go on with a further attempt when the turn comes again."""
        context.message(f"{why}; this run waits, and goes on")
        self._ray.stop()
        self._patiently(
            lambda: self._ledger.end_attempt(self._run_id, context.attempt, "cancelled", reason="preempted")
        )
        self._patiently(lambda: self._ledger.transition(self._run_id, "queued"))
        self._tell("queued")
        self._take_place()
        context.attempt = self._patiently(lambda: self._ledger.start_attempt(self._run_id, "preempted"))
        context.paths.attempt(context.attempt).mkdir(parents=True, exist_ok=True)
        context.resume_from = context.paths.checkpoints
        self._progress()

    def _take_place(self) -> None:
        """From `queued` to `starting`, with the GPUs that the run then holds, and Ray on them."""
        gpus: Sequence[str] = ()
        if not self._waits:
            self._patiently(lambda: self._ledger.transition(self._run_id, "starting"))
        else:
            gpus = self._queue.wait_for_turn(
                self._run_id,
                stop=self._stop.requested,
                on_wait=lambda text: self._events.emit("message", text=text, level="info"),
            )
        self._tell("starting")
        if self._ray.started and list(gpus) != list(self._gpus):
            # They were free when Ray started, and another run was quicker.
            self._ray.stop()
        if not self._ray.started:
            self._start_ray(gpus)

    def _context(self, paths: RunPaths) -> RunContext:
        resumed = self._request.resume is not None
        attempt = self._patiently(lambda: self._ledger.start_attempt(self._run_id, "resume" if resumed else "first"))
        paths.attempt(attempt).mkdir(parents=True, exist_ok=True)
        self._stream = stream = SpoolStream(
            tracker=self._tracker,
            run_id=self._run_id,
            folder=paths.root,
            events=self._events,
            on_metrics=lambda metrics: self._ledger.update_metrics(self._run_id, metrics),
            progressed=self._progress,
        )
        timeout = self._spec.timeout
        self._context_of_kind = context = RunContext(
            run_id=self._run_id,
            spec=self._spec,
            paths=paths,
            settings=self._settings,
            ledger=self._ledger,
            tracker=self._tracker,
            attempt=attempt,
            events=self._events,
            stop=self._stop,
            resume_from=paths.checkpoints if resumed else None,
            cluster=self._request.cluster,
            until=self._request.until,
            workers=self._queue.workers if self._waits else None,
            deadline_s=timeout.total_seconds() if timeout is not None else None,
            watch=stream.watch,
            grace_s=self._stop.grace_s,
            progressed=self._progress,
            outranked=partial(self._queue.is_outranked, self._run_id) if self._waits else lambda: False,
        )
        if not resumed:
            context.begin()
        self._progress()
        return context

    def _patiently(self, call: Callable[[], T]) -> T:
        """A ledger that is away for a while must not cost the run."""
        return patiently(call, within_s=LEDGER_PATIENCE_S, unless=self._stop.requested)

    def _on_stop(self, context: RunContext) -> None:
        try:
            context.paths.stop_request(attempt=context.attempt).touch()
        finally:
            if not self._is_lost():
                self._move("stopping")

    def _describe(self) -> None:
        """Tell the tracking store what the run is; one that is away is asked again for as long as the run works."""
        told = False
        while not told:
            last = self._worked.is_set()
            try:
                self._recorder.describe(self._run_id)
                told = True
            except Exception as error:
                if last or not isinstance(error, TrackingError):
                    self._warn(f"the run's parameters and environment could not be tracked: {error}")
                    return
                self._worked.wait(_DESCRIBE_AGAIN_S)
        # Other runs' affairs must not trouble this one; the next driver tries again.
        with contextlib.suppress(ForgelineError):
            finish_abandoned(self._ledger, self._tracker, self._settings.home_folder)

    def _move(self, state: str) -> None:
        self._ledger.transition(self._run_id, state)
        self._tell(state)

    def _tell(self, state: str, **fields: Any) -> None:
        self._events.emit("state", state=state, **fields)

    def _finish(self, outcome: Outcome) -> None:
        """Deliver what is waiting while Ray goes down, then write the final state everywhere."""
        delivering = threading.Thread(target=self._deliver, args=(outcome,), daemon=True)
        delivering.start()
        try:
            self._ray.stop()
        except Exception:
            # What is left of Ray ends with this process.
            traceback.print_exc()
        delivering.join(2 * _DELIVERY_S)
        if delivering.is_alive():
            self._warn(self._unfinished("it does not answer"))
        if not self._is_lost():
            self._write_ledger(outcome)
        if self._watch is not None:
            self._watch.close()
        self._events.emit("result", **self._result)
        self._tell(outcome.state, reason=outcome.reason, message=outcome.message)
        self._events.close()

    def _deliver(self, outcome: Outcome) -> None:
        """What MLflow has not got yet, and the final state there; an outage is told, and costs no more than time."""
        if self._stream is not None:
            undelivered = self._stream.close(within_s=_DELIVERY_S, well=outcome.state == State.SUCCEEDED)
            if undelivered:
                self._warn(undelivered)
        if self._is_lost():
            return
        try:
            self._tracker.finish(self._run_id, outcome.state, reason=outcome.reason)
        except Exception as error:
            self._warn(self._unfinished(str(error)))

    def _unfinished(self, why: str) -> str:
        return (
            f"the tracking store was not told how the run ended ({why}); the next run, or "
            f"`forgeline runs sync {self._run_id}`, tells it"
        )

    def _is_lost(self) -> bool:
        """Whether another driver may have the run by now."""
        return self._watch is not None and self._watch.lost

    def _write_ledger(self, outcome: Outcome) -> None:
        """The final state with what belongs to it; if it must be, without."""
        try:
            patiently(lambda: self._close(outcome), within_s=_CLOSING_S)
        except Exception as error:
            lost = "the result"
            try:
                self._ledger.transition(self._run_id, outcome.state, reason=outcome.reason)
            except Exception:
                lost = f"the final state, {outcome.state},"
            self._warn(f"{lost} could not be written to the ledger: {error}")
        context = self._context_of_kind
        if context is not None and self._stream is not None:
            # The step is good to know, no more.
            with contextlib.suppress(ForgelineError):
                self._ledger.end_attempt(self._run_id, context.attempt, outcome.state, last_step=self._stream.last_step)

    def _close(self, outcome: Outcome) -> None:
        if outcome.state == State.SUCCEEDED and "metrics" in self._result:
            # The model's own: what its training passed through is history.
            metrics = self._result["metrics"]
        else:
            newest = self._stream.last_metrics if self._stream is not None else {}
            metrics = {**self._ledger.get(self._run_id).metrics, **newest}
        self._ledger.transition(
            self._run_id,
            outcome.state,
            reason=outcome.reason,
            message=outcome.message,
            metrics=metrics,
            result=self._result,
        )

    def _warn(self, text: str) -> None:
        self._events.emit("message", text=text, level="warning")
