"""A tracking store that is gone when the training has ended."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.errors import TrackingError
from forgeline.paths import RunPaths
from forgeline.spec.loading import load
from forgeline_jobs.train import course, kind
from forgeline_jobs.train.worker import RESULT, Job


class Unreachable:
    """A tracker whose server is down."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*arguments: Any) -> None:
            raise TrackingError("the tracking server cannot be reached")

        return refuse


def test_a_finished_training_stays_finished_without_its_tracking_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"metrics": {"val/loss": 0.5}, "fingerprint": "f" * 64}

    def ended_well(job: Job, spec: Any, **settings: Any) -> None:
        folder = job.paths.attempt(job.attempt)
        folder.mkdir(parents=True)
        (folder / RESULT).write_text(json.dumps(result))

    monkeypatch.setattr(course, "run_attempt", ended_well)
    told: list[tuple[str, str]] = []
    spec = load({"kind": "train", "name": "w", "architecture": {"name": "mlp"}, "data": {"name": "wine"}}).spec
    context: Any = SimpleNamespace(
        spec=spec,
        run_id="r",
        paths=RunPaths(tmp_path, "r"),
        attempt=1,
        grace_s=30.0,
        until=None,
        progressed=lambda: None,
        cluster=None,
        workers=1,
        resume_from=None,
        tracker=Unreachable(),
        watch_spool=lambda path: None,
        message=lambda text, level="info": told.append((level, text)),
    )
    assert kind.TrainKind().execute(context) == result
    [(level, text)] = told
    assert level == "warning" and "cannot be reached" in text
