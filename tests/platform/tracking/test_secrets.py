"""What a run uploads about its specification, when that holds secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from forgeline.launching.recording import RunRecorder
from forgeline.launching.request import Request
from forgeline.spec.envelope import Envelope
from forgeline.tracking.tracker import Tracker


class Warehouse(Envelope):
    password: str = "hunter2"
    auth: dict[str, str] = {"token": "hunter2", "user": "ann"}
    store: str = "s3://ann:hunter2@store/rows"


def test_neither_parameters_nor_files_hold_secrets(tracker: Tracker, run_id: str) -> None:
    spec = Warehouse(kind="toy", name="rows")
    request = Request(spec="password: hunter2\n", token="t")
    recorder = RunRecorder(request, settings=cast(Any, None), spec=spec, ledger=cast(Any, None), tracker=tracker)
    recorder.describe(run_id)
    run = tracker.get(run_id)
    assert (run.params["password"], run.params["auth.token"], run.params["auth.user"]) == ("***", "***", "ann")
    assert run.params["store"] == "s3://***@store/rows"
    files = [path for path in Path(run.artifact_uri.removeprefix("file://")).rglob("*") if path.is_file()]
    [written] = [path for path in files if path.name == "spec.yaml"]
    assert "ann" in written.read_text() and "hunter2" not in written.read_text()
