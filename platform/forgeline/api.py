"""The Python face of Forgeline; the command line is a thin layer over it.

>>> import forgeline as fl
>>> run = fl.run(fl.load("digits.yaml"), set={"optimizer.lr": 3e-4})  # doctest: +SKIP
>>> run.state, run.metrics["val/accuracy"]                            # doctest: +SKIP
('succeeded', 0.971)
>>> run.bundle.predict("digits/")                                     # doctest: +SKIP
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, NotFinished, RunFailed, UsageError
from forgeline.launching.events import EXIT_CODES, Event
from forgeline.launching.interrupts import interrupts_go_to
from forgeline.paths import RunPaths
from forgeline.settings import Settings, settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from forgeline.bundle import Bundle
    from forgeline.launching.launch import Launch
    from forgeline.launching.replay import Replay
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import AttemptRecord, RunRecord
    from forgeline.planning import Plan
    from forgeline.spec.loading import LoadedSpec

Progress = Callable[[Event], None]

_ASK_CLUSTER_S = 15.0


def load(path: str | Path, *, set: Mapping[str, Any] | Sequence[str] = ()) -> LoadedSpec:
    """Read and check a specification.

    Args:
        path: a YAML file.
        set: values that override the file's, `{"optimizer.lr": 3e-4}` or `["optimizer.lr=3e-4"]`.

    Raises:
        SpecError: what is wrong, with line, key and the nearest valid key.
    """
    from forgeline.spec import loading

    return loading.load(Path(path), set)


def run(
    spec: LoadedSpec | str | Path,
    *,
    set: Mapping[str, Any] | Sequence[str] = (),
    cluster: str | None = None,
    detach: bool = False,
    resume: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a job, and return when it has ended (or, detached, when it has an identity).

    Ctrl-C asks the run for a graceful stop and goes on waiting for it; a second one does not wait any longer.

    Args:
        spec: a loaded specification, or a YAML file.
        set: values that override the specification's, `{"trainer.epochs": 3}`.
        cluster: Jobs address of a Ray cluster, `http://host:8265`, `ray://host:10001` or `auto`; local Ray without it.
        detach: return at once and leave the run to itself.
        resume: a run (id, unique start of an id, or name) to continue as a new attempt.
        progress: gets every event of the run as it happens.

    Returns:
        The run; `state` tells how it ended, a failed run raises nothing.

    Raises:
        SpecError: the specification, or the data it names, are wrong; nothing was started or written.
        UsageError: the run to resume cannot be resumed (like this), or no cluster answers.
    """
    from forgeline.launching.launch import launch

    loaded = _loaded(spec, set, stored=resume is not None)
    environment = settings()
    resumed = get(resume)._to_be_resumed(loaded) if resume is not None else None
    started = launch(loaded, environment, cluster=cluster, resume=resumed)
    return _watch(started, environment, detach=detach, progress=progress or (lambda event: None))


def plan(
    spec: LoadedSpec | str | Path,
    *,
    set: Mapping[str, Any] | Sequence[str] = (),
    gpu: str | None = None,
    throughput: float | None = None,
) -> Plan:
    """What a job would do, need and cost; nothing is started or written.

    Args:
        spec: a loaded specification, or a YAML file.
        set: values that override the specification's.
        gpu: name of the GPU to plan for, such as `H100`; what is here without it.
        throughput: samples a second of all workers together; what was measured without it.

    Returns:
        The plan; `data` has all of it as JSON values.

    Raises:
        SpecError: the specification, or the data it names, are wrong.
        UsageError: there is no such GPU, or the throughput is not a positive number.
    """
    from forgeline import planning

    if throughput is not None and not (0 < throughput < math.inf):
        raise UsageError(f"--throughput: got {throughput}; it is a number of samples a second, more than 0")
    question = planning.Question(settings=settings(), gpu=gpu, throughput=throughput)
    return planning.plan(_loaded(spec, set), question)


def get(reference: str) -> Run:
    """A run that exists.

    Args:
        reference: its id, the unique start of its id, or its name (the newest run of that name).

    Raises:
        NotFound: no such run.
    """
    environment = settings()
    found = Run(_ledger(environment).get(reference).id, environment)
    found._settle()
    return found


class Run:
    """One run, whatever its number of attempts. What it says is read from the ledger when it is asked.

    >>> run = fl.get("digits")                # doctest: +SKIP
    >>> run.wait(timeout=3600)                # doctest: +SKIP
    'succeeded'
    >>> print("\\n".join(run.logs()))         # doctest: +SKIP
    """

    def __init__(self, run_id: str, environment: Settings) -> None:
        self._id = run_id
        self._settings = environment
        self._ledger = _ledger(environment)

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.name!r} {self.state}>"

    @property
    def id(self) -> str:
        """Its identity for life, which is that of its MLflow run."""
        return self._id

    @property
    def record(self) -> RunRecord:
        """All that the ledger knows."""
        return self._ledger.get(self._id)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def state(self) -> str:
        """queued, starting, running, stopping, succeeded, failed, cancelled or timed_out."""
        return str(self.record.state)

    @property
    def reason(self) -> str | None:
        """Why it ended as it did, for machines; None for success."""
        reason = self.record.reason
        return None if reason is None else str(reason)

    @property
    def message(self) -> str | None:
        """Why it ended as it did, for people."""
        return self.record.message

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the checkpoint that became the model (while it trains: the newest)."""
        return dict(self.record.metrics)

    @property
    def result(self) -> dict[str, Any]:
        """What the kind returned; empty until the run has succeeded."""
        return dict(self.record.result)

    @property
    def table(self) -> DataFrame:
        """What the run has come to so far, a row for each part of its work: of a sweep, its trials, best first.

        Raises:
            UsageError: runs of its kind have no table.
        """
        from pandas import DataFrame

        from forgeline.kinds import get_kind

        record = self.record
        tabulate = getattr(get_kind(record.kind).kind(), "table", None)
        if tabulate is None:
            raise UsageError(f"run {self._id} is of kind {record.kind}, whose runs have no table")
        return DataFrame(tabulate(self._ledger, record))

    @property
    def parts(self) -> list[Run]:
        """The runs that are parts of it, first to last: of a sweep, its trials."""
        found = self._ledger.list_runs(parent=self._id)
        return [Run(record.id, self._settings) for record in reversed(found)]

    @property
    def attempts(self) -> list[AttemptRecord]:
        """Its attempts, first to last, each with its cause."""
        return list(self._ledger.attempts(self._id))

    @property
    def took_s(self) -> float | None:
        """Seconds that it worked, the time between its attempts left out; None before the first."""
        return self._ledger.took_s(self._id)

    @property
    def model_version(self) -> str | None:
        """`name/version` of the model it registered, as in `models:/digits/3`."""
        registered = self.result.get("registered")
        return f"{registered['model']}/{registered['version']}" if registered else None

    @property
    def paths(self) -> RunPaths:
        """Where its files are."""
        return RunPaths(self._settings.home_folder, self._id)

    @property
    def artifacts(self) -> Path:
        """Folder of plots and samples."""
        return self.paths.artifacts

    @property
    def bundle(self) -> Bundle:
        """The trained model.

        Raises:
            NotFinished: the run still goes on.
            RunFailed: it ended without a model.
        """
        from forgeline.bundle import Bundle

        if self.state not in EXIT_CODES:
            raise NotFinished(f"run {self._id} is {self.state}; it has no bundle yet")
        if not self.paths.bundle.exists():
            raise RunFailed(f"run {self._id} ended as {self.state} without a bundle: {self.message or self.reason}")
        return Bundle.load(self.paths.bundle)

    def logs(self, *, attempt: int | None = None, rank: int = 0) -> list[str]:
        """Lines that a worker wrote to its stdout and stderr.

        Args:
            attempt: number of the attempt; the last without it.
            rank: which worker.
        """
        number = attempt or max((record.number for record in self.attempts), default=1)
        try:
            text = self.paths.rank_log(attempt=number, rank=rank).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return text.splitlines()

    def wait(self, timeout: float | None = None) -> str:
        """Wait until it has ended; returns the final state.

        Args:
            timeout: seconds to wait at most.

        Raises:
            NotFinished: it still goes on after `timeout`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        ask_at = time.monotonic() + _ASK_CLUSTER_S
        while True:
            if time.monotonic() >= ask_at:
                self._settle()
                ask_at = time.monotonic() + _ASK_CLUSTER_S
            state = self.state
            if state in EXIT_CODES:
                return state
            if until is not None and time.monotonic() >= until:
                raise NotFinished(f"run {self._id} is still {state} after {timeout:g} s")
            time.sleep(0.3)

    def cancel(self) -> None:
        """Ask it to save what it has and stop; returns at once.

        Raises:
            UsageError: it has ended already.
        """
        if not self._ledger.request_cancel(self._id):
            raise UsageError(f"run {self._id} has ended already ({self.state}); there is nothing to cancel")

    def sync(self) -> Replay:
        """Send the tracking store what it has not got of the run: points that wait on disk, how it ended, parameters.

        Returns:
            How many points were sent, how many are left, and why.

        Raises:
            NotFinished: it goes on, perhaps again since a moment ago, and its driver sends them.
            NotFound: the store does not know the run.
        """
        from forgeline.launching.replay import replay
        from forgeline.tracking.tracker import Tracker

        tracker = Tracker(self._settings.resolved_tracking_uri, self._settings.artifact_root)
        return replay(tracker, lambda: self.record, self.paths.root)

    def give_up(self) -> None:
        """Write down that the run's driver is gone, where the host that could notice it is gone too.

        Raises:
            UsageError: it has ended already, or its driver is of this host, which knows by itself.
        """
        from forgeline.ledger import driver_process

        record = self.record
        if record.is_final:
            raise UsageError(f"run {self._id} has ended already ({record.state}); there is nothing to give up")
        if record.driver_host == driver_process.this_host():
            raise UsageError(f"run {self._id} goes on on this host; cancel it without --force")
        self._ledger.close_dead(record)

    def _settle(self) -> None:
        """Notice that the Ray job of a run on a cluster died; it takes importing Ray, so no listing does it."""
        record = self.record
        if record.cluster is not None and not record.is_final:
            from forgeline.launching.cluster import close_if_job_ended

            close_if_job_ended(self._ledger, record)

    def _to_be_resumed(self, loaded: LoadedSpec) -> str:
        from forgeline.kinds import get_kind
        from forgeline.launching.resuming import FIXED, check_unchanged

        record, kind = self.record, get_kind(loaded.spec.kind).kind()
        state, continued = str(record.state), getattr(kind, "check_continued", None)
        if state == "succeeded" and continued is None:
            raise UsageError(f"--resume: run {self._id} has succeeded, there is nothing to continue; start a new run")
        if state not in EXIT_CODES:
            raise UsageError(f"--resume: run {self._id} is {state}; wait for it, or cancel it first")
        check_unchanged(self._id, stored=record.spec, given=loaded.text, fixed=getattr(kind, "fixed", FIXED))
        if continued is not None:
            continued(record, loaded.spec, self._ledger)
        return self._id


def _loaded(
    spec: LoadedSpec | str | Path, set: Mapping[str, Any] | Sequence[str], *, stored: bool = False
) -> LoadedSpec:
    from forgeline.spec import loading

    if isinstance(spec, str | Path):
        return loading.load(Path(spec), set, stored=stored)
    return loading.load(spec.text, set, stored=stored) if set else spec


def _ledger(environment: Settings) -> Ledger:
    from forgeline.ledger.ledger import Ledger

    environment.ensure_home()
    return Ledger(environment.resolved_ledger_url)


def _watch(started: Launch, environment: Settings, *, detach: bool, progress: Progress) -> Run:
    """Follow a launch to its end (or to its identity); Ctrl-C is passed on as a wish to stop."""
    run: Run | None = None
    with interrupts_go_to(started.interrupt):
        for event in started.events():
            if event["event"] == "run":
                run = Run(event["run_id"], environment)
            progress(event)
            if event["event"] == "error":
                raise _error_of(event)
            if detach and run is not None:
                return run
        started.finish()
    assert run is not None
    return run


def _error_of(event: Event) -> ForgelineError:
    """What ended a launch before there was a run, as the error it was in the driver's process."""
    error = ForgelineError(str(event["message"]))
    error.exit_code = int(event["exit_code"])
    return error
