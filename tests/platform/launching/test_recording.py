"""How a run is written down, and what is put right for those that could not do it themselves."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.errors import LedgerError, NotFound, TrackingError
from forgeline.launching.events import EventLog
from forgeline.launching.recording import RunRecorder
from forgeline.launching.replay import finish_abandoned
from forgeline.launching.request import Request
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline.tracking.spool import Spool

GONE = 2**22 + 1
"""No process has this id."""


class Store:
    """Stands for MLflow."""

    def __init__(self) -> None:
        self.status = {"dead": "RUNNING", "told": "FAILED", "unheard": "RUNNING", "alive": "RUNNING"}
        self.finished: list[tuple[str, str, str | None]] = []
        self.points: list[tuple[str, int]] = []
        self.away = False

    def get(self, run_id: str) -> Any:
        if run_id not in self.status:
            raise NotFound(f"no run {run_id!r}")
        return SimpleNamespace(status=self.status[run_id], params={"kind": "train"}, tags={})

    def finish(self, run_id: str, state: str, *, reason: str | None = None) -> None:
        self.finished.append((run_id, state, reason))

    def reopen(self, run_id: str) -> None:
        if self.away:
            raise TrackingError("away")
        self.get(run_id)
        self.status[run_id] = "RUNNING"

    def create_run(self, experiment: str, name: str, tags: Any) -> str:
        return "taken"

    def last_steps(self, run_id: str) -> dict[str, int]:
        return {}

    def log_points(self, run_id: str, points: Any) -> None:
        self.points += [(run_id, point.step) for point in points]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def new_run(ledger: Ledger, run_id: str, **driver: Any) -> None:
    ledger.create_run(id=run_id, name="digits", kind="train", spec="kind: train\n", **driver)


def recorder(ledger: Ledger, store: Store, request: Request, home: Path = Path("nowhere")) -> RunRecorder:
    spec = SimpleNamespace(kind="train", name="digits", priority=4, labels={"a": "b"})
    settings = cast(Any, SimpleNamespace(experiment="tests", home_folder=home))
    return RunRecorder(request, settings=settings, spec=cast(Any, spec), ledger=ledger, tracker=cast(Any, store))


def test_a_resumed_run_is_written_down_with_the_spec_it_goes_on_with(ledger: Ledger) -> None:
    new_run(ledger, "r")
    ledger.transition("r", "cancelled", "cancelled")
    request = Request(spec="kind: train\nsteps: 9\n", token="t", resume="r")
    store = Store()
    store.status["r"] = "KILLED"
    assert recorder(ledger, store, request).open() == "r"
    record = ledger.get("r")
    assert (record.spec, record.priority, record.labels) == (request.spec, 4, {"a": "b"})


def test_a_run_goes_on_while_mlflow_is_away_and_it_is_told_later(ledger: Ledger) -> None:
    new_run(ledger, "unheard")
    ledger.transition("unheard", "timed_out", "deadline", "the run met its deadline")
    store = Store()
    store.status["unheard"] = "KILLED"
    store.away = True
    writing = recorder(ledger, store, Request(spec="kind: train\n", token="t", resume="unheard"))
    writing.open()
    assert ledger.get("unheard").state == "queued"
    with pytest.raises(TrackingError):
        writing.describe("unheard")
    store.away = False
    with contextlib.suppress(AttributeError):  # of what else is described, which this store does not take
        writing.describe("unheard")
    assert store.status["unheard"] == "RUNNING"


def test_a_run_that_mlflow_no_longer_has_stays_as_it_ended(ledger: Ledger) -> None:
    new_run(ledger, "r")
    ledger.transition("r", "timed_out", "deadline", "the run met its deadline")
    with pytest.raises(NotFound):
        recorder(ledger, Store(), Request(spec="kind: train\n", token="t", resume="r")).open()
    record = ledger.get("r")
    assert (record.state, record.reason, record.message) == ("timed_out", "deadline", "the run met its deadline")


def test_a_run_that_the_ledger_refuses_does_not_go_on_in_mlflow(ledger: Ledger) -> None:
    new_run(ledger, "taken")
    store = Store()
    with pytest.raises(LedgerError):
        recorder(ledger, store, Request(spec="kind: train\n", token="t")).open()
    assert store.finished == [("taken", "failed", "platform_error")]


def test_a_cluster_run_is_written_down_with_its_job(ledger: Ledger) -> None:
    run_id = recorder(ledger, Store(), Request(spec="", token="t", cluster="http://head:8265")).open()
    assert (ledger.get(run_id).cluster, ledger.get(run_id).submission_id) == ("http://head:8265", "forgeline-t")


def test_runs_that_ended_unheard_are_finished_in_mlflow_too(ledger: Ledger, tmp_path: Path) -> None:
    store = Store()
    for run_id in ("dead", "told", "deleted"):
        new_run(ledger, run_id, driver_host=socket.gethostname(), driver_pid=GONE)
    for run_id in ("unheard", "alive"):
        new_run(ledger, run_id, driver_host=socket.gethostname())
        ledger.transition(run_id, "starting")
        ledger.transition(run_id, "running")
    ledger.transition("unheard", "succeeded")
    spool = RunPaths(tmp_path, "unheard").spool(attempt=1, rank=0)
    with Spool(spool) as writer:
        for step in (1, 2):
            writer.metrics(step, {"train/loss": 1.0})
            # What was written later was never delivered.
            if step == 1:
                spool.with_suffix(".delivered").write_text(str(spool.stat().st_size))
    finish_abandoned(ledger, cast(Any, store), tmp_path)
    assert store.finished == [("unheard", "succeeded", None), ("dead", "failed", "platform_error")]
    assert store.points == [("unheard", 2)]


def test_a_place_to_stage_a_launch_does_not_stay(ledger: Ledger, tmp_path: Path) -> None:
    for name, age_s in (("forgotten", 2 * 24 * 3600), ("fresh", 0), ("own", 0)):
        folder = tmp_path / "launching" / name
        folder.mkdir(parents=True)
        os.utime(folder, times=(time.time() - age_s,) * 2)
    events = EventLog(tmp_path / "launching" / "own" / "events.jsonl")
    recorder(ledger, Store(), Request(spec="", token="own"), tmp_path).settle("r", events)
    assert [path.name for path in (tmp_path / "launching").iterdir()] == ["fresh"]
