"""Where a run becomes one: its MLflow run (whose id is the run's identity), its ledger row, its folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, TrackingError
from forgeline.kinds import get_kind
from forgeline.launching.events import EventLog
from forgeline.launching.request import LOG, Request
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.once import ONCE, already_begun
from forgeline.ledger.states import Reason, State
from forgeline.masking import masked
from forgeline.paths import RunPaths
from forgeline.spec.loading import dump_masked

if TYPE_CHECKING:
    from forgeline.settings import Settings
    from forgeline.spec.envelope import Envelope
    from forgeline.tracking.tracker import Tracker

_STAGING_S = 24 * 3600.0


class RunRecorder:
    """Writes down that a run exists, or exists again.

    Args:
        request: what was asked for.
        settings: of this installation.
        spec: the checked specification.
        ledger: the authority on runs.
        tracker: the MLflow store.
    """

    def __init__(
        self, request: Request, *, settings: Settings, spec: Envelope, ledger: Ledger, tracker: Tracker
    ) -> None:
        self._request = request
        self._settings = settings
        self._spec = spec
        self._ledger = ledger
        self._tracker = tracker
        self._reopened = True

    def open(self) -> str:
        """The run's id, its record being in state `queued` in both stores."""
        spec, request = self._spec, self._request
        fields: dict[str, Any] = {
            "name": spec.name,
            "spec": request.spec,
            "priority": spec.priority,
            "labels": dict(spec.labels),
            "cluster": request.cluster,
            "submission_id": request.submission_id,
            "driver_host": socket.gethostname(),
            "driver_pid": os.getpid(),
        }
        return self._create(fields) if request.resume is None else self._reopen(request.resume, fields)

    def _create(self, fields: dict[str, Any]) -> str:
        spec = self._spec
        once = spec.labels.get(ONCE)
        if once is not None and (known := self._ledger.begun_once(once)) is not None:
            # The ledger would refuse it too, but only after the store had a run of it.
            raise already_begun(once, known.id)
        tags = {"forgeline.kind": spec.kind, "forgeline.name": spec.name}
        tags |= {f"forgeline.label.{key}": value for key, value in spec.labels.items()}
        if self._request.parent is not None:
            tags["mlflow.parentRunId"] = self._request.parent
        run_id = self._tracker.create_run(self._settings.experiment, spec.name, tags)
        try:
            self._ledger.create_run(id=run_id, kind=spec.kind, parent=self._request.parent, **fields)
        except BaseException:
            # Without a row nobody would ever end it.
            with contextlib.suppress(ForgelineError):
                self._tracker.finish(run_id, State.FAILED, reason=Reason.PLATFORM_ERROR)
            raise
        return run_id

    def _reopen(self, run_id: str, fields: dict[str, Any]) -> str:
        before = self._ledger.get(run_id)
        more = hasattr(get_kind(self._spec.kind).kind(), "check_continued")
        self._ledger.resume(run_id, more_to_do=more, **fields)
        try:
            self._reopened = self._told_to_go_on(run_id)
        except BaseException:
            with contextlib.suppress(ForgelineError):
                self._ledger.transition(run_id, before.state, before.reason, before.message)
            raise
        return run_id

    def _told_to_go_on(self, run_id: str) -> bool:
        """Whether the store knows that the run goes on; one that is away is told later, and costs the run nothing.

        Raises:
            NotFound: it has no such run any more.
        """
        try:
            self._tracker.reopen(run_id)
        except TrackingError:
            return False
        return True

    def settle(self, run_id: str, events: EventLog) -> RunPaths:
        """Give the run its folder, and what was staged its final place in it."""
        paths = RunPaths(self._settings.home_folder, run_id)
        paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths.spec.write_text(self._request.spec, encoding="utf-8")
        staging = events.path.parent
        _make_room(paths.events)
        events.move(paths.events)
        if (staging / LOG).exists():
            _make_room(paths.driver_log)
            (staging / LOG).rename(paths.driver_log)
        shutil.rmtree(staging, ignore_errors=True)
        _clear(self._settings.home_folder / "launching")
        return paths

    def describe(self, run_id: str) -> None:
        """Log the specification, every hyperparameter and the environment to MLflow."""
        from forgeline.tracking import environment

        if not self._reopened:
            self._tracker.reopen(run_id)
            self._reopened = True
        self._tracker.log_params(run_id, dict(flatten(masked(self._spec.resolved()))))
        self._tracker.log_text(run_id, dump_masked(self._spec), "spec.yaml")
        environment.log(self._tracker, run_id)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted path.

    >>> dict(flatten({"optimizer": {"lr": 0.1}, "name": "digits"}))
    {'optimizer.lr': 0.1, 'name': 'digits'}
    """
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        elif value is not None and value != {} and value != []:
            yield path, value


def _make_room(file: Path) -> None:
    """Give the file of an earlier execution another name: `events.jsonl` becomes `events.1.jsonl`."""
    if file.exists():
        number = sum(1 for _ in file.parent.glob(f"{file.stem}.*{file.suffix}")) + 1
        file.rename(file.with_name(f"{file.stem}.{number}{file.suffix}"))


def _clear(launching: Path) -> None:
    """Remove what launches left that never became a run; a launch takes seconds."""
    for folder in launching.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STAGING_S:
                shutil.rmtree(folder)
