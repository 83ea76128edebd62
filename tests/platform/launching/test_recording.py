"""How a run is written down, and what is put right for those that could not do it themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.errors import NotFound
from forgeline.launching.recording import RunRecorder
from forgeline.launching.request import Request
from forgeline.ledger.ledger import Ledger

GONE = 2**22 + 1
"""No process has this id."""


class Store:
    """Stands for MLflow."""

    def __init__(self) -> None:
        self.status = {"dead": "RUNNING", "told": "FAILED", "broken": "RUNNING"}
        self.finished: list[tuple[str, str, str | None]] = []

    def get(self, run_id: str) -> Any:
        if run_id not in self.status:
            raise NotFound(f"no run {run_id!r}")
        return SimpleNamespace(status=self.status[run_id])

    def finish(self, run_id: str, state: str, *, reason: str | None = None) -> None:
        self.finished.append((run_id, state, reason))

    def reopen(self, run_id: str) -> None:
        self.status[run_id] = "RUNNING"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def new_run(ledger: Ledger, run_id: str, **driver: Any) -> None:
    ledger.create_run(id=run_id, name="digits", kind="train", spec="kind: train\n", **driver)


def recorder(ledger: Ledger, store: Store, request: Request) -> RunRecorder:
    spec = SimpleNamespace(kind="train", name="digits", priority=4, labels={"a": "b"})
    return RunRecorder(request, settings=cast(Any, None), spec=cast(Any, spec), ledger=ledger, tracker=cast(Any, store))


def test_a_resumed_run_is_written_down_with_the_spec_it_goes_on_with(ledger: Ledger) -> None:
    new_run(ledger, "r")
    ledger.transition("r", "cancelled", "cancelled")
    request = Request(spec="kind: train\nsteps: 9\n", token="t", resume="r")
    assert recorder(ledger, Store(), request).open() == "r"
    record = ledger.get("r")
    assert (record.spec, record.priority, record.labels) == (request.spec, 4, {"a": "b"})


def test_runs_whose_driver_died_are_finished_in_mlflow_too(ledger: Ledger) -> None:
    store = Store()
    for run_id in ("dead", "told", "deleted"):
        new_run(ledger, run_id, driver_host=socket.gethostname(), driver_pid=GONE)
    new_run(ledger, "broken", driver_host=socket.gethostname())
    ledger.transition("broken", "failed", "platform_error", "its own driver is about to tell")
    recorder(ledger, store, Request(spec="", token="t")).finish_abandoned()
    assert store.finished == [("dead", "failed", "platform_error")]
