"""What `forgeline predict` refuses before it loads anything, and the names of models."""

from __future__ import annotations

import resource
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forgeline.cli.predict import PredictionFormat, write_table
from forgeline.errors import UsageError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("nosuchdir/x.csv", "the folder 'nosuchdir' does not exist"),
        ("old.csv", "'old.csv' is there already; add --overwrite"),
        ("rows.csv", "is the input as well"),
    ],
)
def test_an_output_that_cannot_be_or_must_not_be_lost(
    output: str, said: str, table: Path, forgeline: Any, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").write_text("precious")
    done = forgeline("predict", "model", table, "--output", output)
    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_the_plain_name_of_a_registered_model_is_answered_with_its_reference(
    table: Path, home: Path, forgeline: Any
) -> None:
    with sqlite3.connect(home / "mlflow.db") as store:
        store.execute("INSERT INTO registered_models (name, creation_time, workspace) VALUES ('loans', 0, 'default')")
        store.execute(
            "INSERT INTO model_versions (name, version, creation_time, source, workspace, current_stage) "
            "VALUES ('loans', 1, 0, 'x', 'default', 'None')"
        )
        store.execute("INSERT INTO registered_model_aliases VALUES ('champion', 1, 'loans', 'default')")
    done = forgeline("predict", "loans", table)
    assert done.returncode == 102
    assert "did you mean the registered model `models:/loans@champion`?" in done.stderr


@pytest.mark.parametrize("form", [PredictionFormat.CSV, PredictionFormat.JSON, PredictionFormat.PARQUET])
def test_a_full_disk_leaves_the_file_that_was_there(form: PredictionFormat, tmp_path: Path) -> None:
    output = tmp_path / f"out.{form}"
    output.write_text("precious")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UsageError, match="cannot write"):
            write_table(pd.DataFrame({"prediction": range(10_000)}), form, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert output.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [output]
