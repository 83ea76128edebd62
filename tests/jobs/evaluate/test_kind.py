"""The kind `evaluate` where the tracking store is gone when the model has been measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.errors import TrackingError
from forgeline.paths import RunPaths
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.evaluate import kind


def test_a_measured_model_stays_measured_without_the_tracking_store(
    tmp_path: Path, wine_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"metrics": {"test/loss": 0.5}, "fingerprint": "f" * 64, "notes": [], "remarks": []}
    monkeypatch.setattr(kind, "run_task", lambda *arguments: result)

    def refuse(*arguments: Any) -> None:
        raise TrackingError("the tracking server cannot be reached")

    told: list[tuple[str, str]] = []
    watched: list[Path] = []
    context: Any = SimpleNamespace(
        spec=load({"kind": "evaluate", "name": "w", "model": str(wine_bundle)}).spec,
        run_id="r",
        paths=RunPaths(tmp_path, "r"),
        attempt=1,
        watch_spool=watched.append,
        tracker=SimpleNamespace(log_params=refuse, log_artifacts=refuse),
        message=lambda text, level="info": told.append((level, text)),
    )
    assert kind.EvaluateKind().execute(context) == result
    [warning] = [text for level, text in told if level == "warning"]
    assert "cannot be reached" in warning
    # The figures wait on disk.
    [path] = watched
    [line] = SpoolReader(path).read_new()
    assert (line["step"], line["values"]) == (0, {"test/loss": 0.5})
