"""Predictions in a Parquet file: whole or not at all, in the order of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from forgeline.bundle import Bundle, tables
from forgeline.cli.app import main
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
    return Task(
        bundle=str(bundle),
        input=str(table),
        output=str(output),
        temporary=str(output.with_name(".partial")),
        keep=keep,
        batch_size=8,
        device="cpu",
    )


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


@pytest.mark.parametrize(
    ("change", "key"), [({"resources": {"workers": 2}}, "resources.workers"), ({"retry": {"node_lost": 1}}, "retry")]
)
def test_what_one_task_cannot_honour_is_refused(
    wine_bundle: Path, table: Path, tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    with pytest.raises(SpecError, match=key):
        _spec(wine_bundle, table, tmp_path / "answers.parquet", **change)


def test_a_model_that_is_not_there_is_not_found(home: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        PredictKind().check(_spec(tmp_path / "no-model", table, tmp_path / "answers.parquet"))


def test_kept_columns_have_one_type_in_every_piece(
    wine_bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap in the last rows alone, read in pieces: no piece decides by itself what the column is."""
    frame = pd.read_csv(table)
    frame["code"] = [str(number) if number < 25 else "late" for number in range(30)]
    frame["count"] = [float(number) if number < 25 else None for number in range(30)]
    frame["when"] = pd.date_range("2024-01-01", periods=30, tz="UTC")
    keep = ("count", "code", "bottle")
    expected = Bundle.load(wine_bundle).predict(table)
    monkeypatch.setattr(tables, "PIECE_ROWS", 7)
    monkeypatch.setattr(tables, "SMALL_BYTES", 0)
    frame.to_csv(table, index=False)
    frame.to_parquet(table.with_suffix(".parquet"))
    for source, more in ((table, ()), (table.with_suffix(".parquet"), ("when",))):
        output = tmp_path / "answers.parquet"
        assert write(_task(wine_bundle, source, output, keep=(*keep, *more)))["rows"] == 30
        written = pd.read_parquet(output)
        assert list(written.columns) == [*keep, *more, *expected.columns]
        assert written["code"].tolist() == frame["code"].tolist()
        assert written["count"].isna().sum() == 5 and written["count"].dtype == "float64"
        pd.testing.assert_frame_equal(written[list(expected.columns)], expected, check_exact=False, rtol=1e-5)
    assert written["when"].tolist() == frame["when"].tolist()


def test_a_failure_in_a_late_piece_keeps_the_old_file(
    wine_bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "answers.parquet"
    write(_task(wine_bundle, table, output))
    before = output.read_bytes()
    monkeypatch.setattr(tables, "PIECE_ROWS", 7)
    predict, seen = Bundle.predict_piece, []

    def second_fails(self: Bundle, raw: Any, **options: Any) -> pd.DataFrame:
        seen.append(len(raw))
        if len(seen) == 2:
            raise MemoryError("no more")
        return predict(self, raw, **options)

    monkeypatch.setattr(Bundle, "predict_piece", second_fails)
    with pytest.raises(MemoryError):
        write(_task(wine_bundle, table, output))
    assert seen == [7, 7] and output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.parquet", "wine.csv"]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"input": "."}, "input", "is not a table"),
        ({"keep": ["prediction"]}, "keep", "is a column that the model writes"),
        ({"keep": ["bottle", "bottle"]}, "keep", "is named twice"),
    ],
)
def test_more_that_cannot_work(
    wine_bundle: Path, table: Path, tmp_path: Path, change: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        PredictKind().check(_spec(wine_bundle, table, tmp_path / "answers.parquet", **change))
    assert caught.value.key == key


def test_the_input_is_never_the_output(wine_bundle: Path, table: Path) -> None:
    source = table.with_suffix(".parquet")
    pd.read_csv(table).to_parquet(source)
    with pytest.raises(SpecError, match="is the input as well"):
        PredictKind().check(_spec(wine_bundle, source, source, overwrite=True))


def test_a_folder_is_no_output(wine_bundle: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.parquet").mkdir()
    with pytest.raises(SpecError, match="is a folder"):
        PredictKind().check(_spec(wine_bundle, table, tmp_path / "answers.parquet", overwrite=True))


def test_the_command_keeps_columns_as_the_kind_does(
    wine_bundle: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "answers.csv"
    for keep, code in (("bottle", 0), ("bottel", 2)):
        with pytest.raises(SystemExit) as caught:
            main(["predict", str(wine_bundle), str(table), "--output", str(output), "--overwrite", "--keep", keep])
        assert caught.value.code == code
    assert "did you mean `bottle`?" in capsys.readouterr().err
    written = pd.read_csv(output)
    assert list(written.columns[:2]) == ["bottle", "prediction"]
    assert written["bottle"].tolist() == [f"b{number}" for number in range(30)]
    assert written["prediction"].tolist() == Bundle.load(wine_bundle).predict(table)["prediction"].tolist()
