"""A bundle over a split: metrics, report, pictures, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score

from forgeline.bundle import Bundle
from forgeline.errors import DataError, NotFound
from forgeline.spec.loading import load
from forgeline_jobs.evaluate.kind import EvaluateKind
from forgeline_jobs.evaluate.measurement import Task, data_of, measure


def _task(bundle: Path, folder: Path, **change: object) -> Task:
    values = {"bundle": str(bundle), "data": None, "split": "test", "batch_size": 10, "device": "cpu"}
    return Task(**{**values, "folder": str(folder), **change})  # type: ignore[arg-type]


def test_the_test_split_is_measured_and_reported(wine_bundle: Path, tmp_path: Path) -> None:
    result = measure(_task(wine_bundle, tmp_path))
    bundle = Bundle.load(wine_bundle)
    _, data = data_of(bundle, None)
    batch = data.splits["test"].batch(range(len(data.splits["test"])))  # type: ignore[arg-type]
    targets = batch.pop("target")
    expected = accuracy_score(targets, bundle.outputs(batch).argmax(axis=1))
    assert result["metrics"]["test/accuracy"] == pytest.approx(expected)
    assert json.loads((tmp_path / "metrics.json").read_text())["samples"] == len(targets)
    report = (tmp_path / "report.md").read_text()
    assert "test/accuracy" in report
    for picture in ("confusion-matrix", "roc", "calibration"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 1000
        assert f"({picture}.png)" in report


def test_the_batch_size_changes_nothing(wine_bundle: Path, tmp_path: Path) -> None:
    one = measure(_task(wine_bundle, tmp_path / "one", batch_size=7))["metrics"]
    other = measure(_task(wine_bundle, tmp_path / "other", batch_size=512))["metrics"]
    assert one == pytest.approx(other, rel=1e-5)


def test_data_for_another_task_are_refused(wine_bundle: Path) -> None:
    spec = load({"kind": "evaluate", "name": "e", "model": str(wine_bundle), "data": {"name": "diabetes"}}).spec
    with pytest.raises(DataError, match=r"data\.name.*regression.*classification"):
        EvaluateKind().check(spec)  # type: ignore[arg-type]


def test_a_model_that_is_not_there_is_not_found(home: Path) -> None:
    spec = load({"kind": "evaluate", "name": "e", "model": "models:/nothing@champion"}).spec
    with pytest.raises(NotFound, match="nothing"):
        EvaluateKind().check(spec)  # type: ignore[arg-type]
