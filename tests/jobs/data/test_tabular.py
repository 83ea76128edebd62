"""A user's table: what is told from it, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.errors import DataError
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.sources import TABULAR

ROWS = 60


def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 80, ROWS),
            "income": np.where(np.arange(ROWS) % 7 == 0, np.nan, generator.normal(3e4, 1e4, ROWS)),
            "city": generator.choice(["Rome", "Oslo"], ROWS),
            "member": generator.random(ROWS) < 0.5,
            "spend": generator.normal(100, 20, ROWS),
            "plan": np.where(np.arange(ROWS) % 4 == 0, "gold", "basic"),
        }
    )


def prepare(tmp_path: Path, frame: pd.DataFrame | None = None, **settings: Any) -> PreparedData:
    path = tmp_path / "t.csv"
    if frame is not None or not path.exists():
        (table() if frame is None else frame).to_csv(path, index=False)
    given = {"name": "tabular", "path": str(path), "target": "plan", "batch_size": 8, **settings}
    return TABULAR.prepare(TABULAR.config_model().model_validate(given))


def refusal(tmp_path: Path, frame: pd.DataFrame | None = None, **settings: Any) -> tuple[str | None, str]:
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, frame, **settings)
    return caught.value.key, caught.value.message


def test_classification_is_told_from_texts(tmp_path: Path) -> None:
    data = prepare(tmp_path, class_weights="balanced")
    assert data.summary["columns"] == {
        "age": "numeric", "income": "numeric", "city": "categorical", "member": "categorical", "spend": "numeric"
    }  # fmt: skip
    assert data.signature.task == "classification" and data.preprocessing.classes == ("basic", "gold")
    assert data.signature.inputs["numeric"].shape == (4,), "three numbers and a flag for missing incomes"
    assert data.signature.cardinalities == (3, 3)
    assert data.class_weights == pytest.approx((2 / 3, 2), rel=0.06)
    assert data.summary["missing"] == {"income": 9}


@pytest.mark.parametrize(
    ("target", "task"), [("spend", "regression"), ("member", "classification"), ("age", "regression")]
)
def test_the_task_is_told_from_the_target(tmp_path: Path, target: str, task: str) -> None:
    assert prepare(tmp_path, target=target).signature.task == task


def test_few_whole_numbers_are_classes_unless_said_otherwise(tmp_path: Path) -> None:
    frame = table().assign(grade=np.arange(ROWS) % 5)
    data = prepare(tmp_path, frame, target="grade")
    assert data.signature.outputs == (5,)
    assert data.preprocessing.decode(np.eye(5))["prediction"].tolist() == [0, 1, 2, 3, 4]
    assert prepare(tmp_path, target="grade", task="regression").signature.task == "regression"


def test_several_targets_are_a_regression(tmp_path: Path) -> None:
    data = prepare(tmp_path, target=["spend", "age"])
    batch = data.splits["train"].batch(np.arange(4))
    assert data.signature.outputs == (2,) and batch["target"].shape == (4, 2)
    columns = list(data.preprocessing.decode(batch["target"]).columns)
    assert columns == ["prediction[spend]", "prediction[age]"]


def test_statistics_come_from_train_only(tmp_path: Path) -> None:
    frame = table().assign(part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    frame.loc[40:, "age"] = 10_000
    data = prepare(tmp_path, frame, split={"column": "part"})
    assert data.summary["samples"] == {"train": 40, "val": 10, "test": 10}
    assert "part" not in data.summary["columns"]
    (age,) = (column for column in data.preprocessing.numeric if column.name == "age")  # type: ignore[union-attr]
    assert age.mean == pytest.approx(frame["age"][:40].mean())


def test_rows_that_change_sides_make_other_data(tmp_path: Path) -> None:
    frame = table().assign(part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    first = prepare(tmp_path, frame, split={"column": "part"}).fingerprint
    assert prepare(tmp_path, frame, split={"column": "part"}).fingerprint == first
    frame.loc[[0, 59], "part"] = ["test", "train"]
    assert prepare(tmp_path, frame, split={"column": "part"}).fingerprint != first


def test_columns_drop_and_categorical(tmp_path: Path) -> None:
    assert list(prepare(tmp_path, columns=["city", "age"]).summary["columns"]) == ["city", "age"]
    data = prepare(tmp_path, drop=["income", "spend"], categorical=["age"])
    assert data.summary["columns"] == {"age": "categorical", "city": "categorical", "member": "categorical"}


def test_csv_and_parquet_have_one_fingerprint(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    other = tmp_path / "elsewhere" / "t.parquet"
    other.parent.mkdir()
    table().to_parquet(other)
    assert prepare(tmp_path, path=str(other)).fingerprint == first.fingerprint
    assert prepare(tmp_path, table().assign(age=1)).fingerprint != first.fingerprint


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert prepare(tmp_path, path="~/t.csv").fingerprint == prepare(tmp_path, path="t.csv").fingerprint


@pytest.mark.parametrize(
    ("change", "settings", "key", "message"),
    [
        ({}, {"path": "nowhere.csv"}, "data.path", "does not exist"),
        ({}, {"target": "plam"}, "data.target", "no column 'plam'; did you mean `plan`?"),
        ({}, {"columns": ["agee"]}, "data.columns", "did you mean `age`?"),
        ({}, {"drop": ["x"]}, "data.drop", "no column 'x'; known: age"),
        ({}, {"categorical": ["town"]}, "data.categorical", "no column 'town'"),
        ({}, {"split": {"column": "spit"}}, "data.split.column", "no column 'spit'"),
        ({}, {"split": {"column": "city"}}, "data.split.column", "allowed: train, val, test"),
        ({"plan": ["x"] + ["y"] * 59}, {}, "data.target", "class 'x' has 1 sample; each class needs at least 3"),
        ({"plan": ["x"] * 60}, {}, "data.target", "single class, 'x'"),
        (
            {"plan": [None] + ["x", "y"] * 29 + ["x"]},
            {},
            "data.target",
            "missing in 1 of 60 rows (first: data row 0 (the first is 0))",
        ),
        (
            {"spend": [1.5, np.nan] * 30},
            {"target": "spend"},
            "data.target",
            "(NaN) in 30 of 60 rows (first: data row 1 (the first is 0))",
        ),
        (
            {"spend": [1.5, "many"] * 30},
            {"target": "spend", "task": "regression"},
            "data.target",
            "'many' in data row 1 (the first is 0)",
        ),
        (
            {"spend": [1.5, np.inf] * 30},
            {"target": "spend", "task": "regression"},
            "data.target",
            "inf in data row 1 (the first is 0)",
        ),
        ({"spend": [2.5] * 60}, {"target": "spend", "task": "regression"}, "data.target", "2.5 in every row"),
        ({"age": [np.nan] * 60}, {}, "data.drop", "'age' has no value in any row"),
        ({"age": [1, np.inf] * 30}, {}, "data.path", "`age` is inf in data row 1 (the first is 0); allowed: a number"),
        ({}, {"target": "spend", "class_weights": "balanced"}, "data.class_weights", "for classification"),
        ({}, {"target": ["plan", "city"], "task": "classification"}, "data.target", "classification has one target"),
        (
            {},
            {"target": "spend", "drop": ["age", "income", "city", "member", "plan"]},
            "data.columns",
            "no column is left",
        ),
    ],
)
def test_refusals(tmp_path: Path, change: dict[str, Any], settings: dict[str, Any], key: str, message: str) -> None:
    got_key, got = refusal(tmp_path, table().assign(**change), **settings)
    assert got_key == key
    assert message in got


def test_a_column_that_names_each_row_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    frame = pd.concat([table()] * 4, ignore_index=True).assign(passenger=[f"p{i}" for i in range(240)])
    key, message = refusal(tmp_path, frame)
    assert key == "data.drop" and "'passenger' (240 in 240 rows)" in message and "drop: [passenger]" in message
    assert prepare(tmp_path, frame, drop=["passenger"]).summary["samples"]["train"] > 100


DAYS = pd.Series(pd.date_range("2024-01-30", periods=ROWS))


@pytest.mark.parametrize(
    "dates",
    [
        DAYS,
        DAYS.dt.date,
        DAYS.dt.strftime("%d.%m.%Y"),
        DAYS.dt.strftime("%Y-%m-%d %H:%M:%S").where(np.arange(ROWS) > 0),
        pd.Series(["2024-01-01", "2024-02-01"] * (ROWS // 2)),
    ],
    ids=["datetime", "date", "text", "with time, one missing", "few"],
)
def test_dates_are_refused_with_what_to_do(tmp_path: Path, dates: pd.Series[Any]) -> None:
    frame = table().assign(visit=dates, birth=dates)
    path = tmp_path / "dates.parquet"
    frame.to_parquet(path)
    for settings in ({}, {"path": str(path)}):
        key, message = refusal(tmp_path, frame, **settings)
        assert key == "data.drop" and "column 'visit' holds dates (" in message
        assert "drop: [visit, birth]" in message and "columns of numbers" in message
    assert "visit" not in prepare(tmp_path, frame, drop=["visit", "birth"]).summary["columns"]


def test_dates_can_be_categories_and_versions_are_no_dates(tmp_path: Path) -> None:
    frame = table().assign(month=["2024-01-01", "2024-02-01"] * (ROWS // 2), version=["1.2.3", "10.1.12"] * (ROWS // 2))
    columns = prepare(tmp_path, frame, categorical=["month"]).summary["columns"]
    assert columns["month"] == columns["version"] == "categorical"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop": ["plan"]}, "both the target and in drop"),
        ({"columns": ["age"], "drop": ["age"]}, "both in columns and in drop"),
        ({"target": []}, "must name one column"),
        ({"split": {"val": 0.6, "test": 0.5}}, "leave nothing to train on"),
        ({"targett": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_contradict(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TABULAR.config_model().model_validate({"name": "tabular", "path": "x.csv", "target": "plan", **settings})
