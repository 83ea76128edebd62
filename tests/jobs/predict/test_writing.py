"""Predictions in a Parquet file: whole or not at all, in the order of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from forgeline.bundle import Bundle
from forgeline.errors import NotFound, SpecError
from forgeline.spec.loading import load
from forgeline_jobs.predict.kind import PredictKind
from forgeline_jobs.predict.writing import Task, write


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    frame = load_wine(as_frame=True).data.head(30)
    frame.insert(0, "bottle", [f"b{number}" for number in range(30)])
    frame.to_csv(path, index=False)
    return path


def _task(bundle: Path, table: Path, output: Path, keep: tuple[str, ...] = ()) -> Task:
    return Task(bundle=str(bundle), input=str(table), output=str(output), keep=keep, batch_size=8, device="cpu")


def _spec(bundle: Path, table: Path, place: Path, **more: Any) -> Any:
    return load(
        {"kind": "predict", "name": "p", "model": str(bundle), "input": str(table), "output": str(place), **more}
    ).spec


def test_the_file_holds_what_the_bundle_predicts(wine_bundle: Path, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.parquet"
    assert write(_task(wine_bundle, table, output, keep=("bottle",)))["rows"] == 30
    written = pd.read_parquet(output)
    expected = Bundle.load(wine_bundle).predict(table)
    assert written["bottle"].tolist() == [f"b{number}" for number in range(30)]
    pd.testing.assert_frame_equal(written.drop(columns="bottle"), expected, check_exact=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.parquet", "wine.csv"]


def test_a_failure_leaves_no_file(wine_bundle: Path, table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table).drop(columns="alcohol")
    frame.to_csv(table, index=False)
    with pytest.raises(SpecError, match="alcohol"):
        write(_task(wine_bundle, table, tmp_path / "answers.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["wine.csv"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"input": "nowhere.csv"}, "input"),
        ({"keep": ["bottel"]}, "keep"),
        ({"output": "/nowhere/answers.parquet"}, "output"),
    ],
)
def test_what_cannot_work_is_refused_first(
    wine_bundle: Path, table: Path, tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    spec = _spec(wine_bundle, table, tmp_path / "answers.parquet", **change)
    with pytest.raises(SpecError) as caught:
        PredictKind().check(spec)
    assert caught.value.key == key


def test_a_file_that_is_there_is_not_replaced_unless_asked(wine_bundle: Path, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.parquet"
    output.touch()
    with pytest.raises(SpecError, match="overwrite: true"):
        PredictKind().check(_spec(wine_bundle, table, output))
    PredictKind().check(_spec(wine_bundle, table, output, overwrite=True))


def test_a_column_that_the_model_needs_must_be_there(wine_bundle: Path, table: Path, tmp_path: Path) -> None:
    pd.read_csv(table).drop(columns="alcohol").to_csv(table, index=False)
    with pytest.raises(SpecError, match="alcohol"):
        PredictKind().check(_spec(wine_bundle, table, tmp_path / "answers.parquet"))


def test_a_model_that_is_not_there_is_not_found(home: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        PredictKind().check(_spec(tmp_path / "no-model", table, tmp_path / "answers.parquet"))
