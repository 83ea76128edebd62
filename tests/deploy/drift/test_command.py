"""`forgeline drift check`: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import ForgelineError
from forgeline_deploy.commands import DRIFT

Customers = Callable[[int, int], pd.DataFrame]


def drift(*arguments: Any) -> int:
    """The command as the root of the command line runs it."""
    code = DRIFT.load().main([*map(str, arguments)], prog_name="forgeline drift", standalone_mode=False)
    return code if isinstance(code, int) else 0


@pytest.fixture
def new(customers: Customers, tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    customers(7, 300).to_csv(path, index=False)
    return path


@pytest.fixture
def moved(customers: Customers, tmp_path: Path) -> Path:
    path = tmp_path / "moved.csv"
    rows = customers(7, 300)
    rows.assign(usage=rows["usage"] + 15, income=rows["income"].where(rows.index % 3 > 0)).to_csv(path, index=False)
    return path


def test_without_drift_the_code_is_0(bundle: Bundle, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift("check", bundle.folder, new) == 0
    out = capsys.readouterr().out
    header, *lines = out.splitlines()
    assert header.split()[:4] == ["feature", "kind", "values", "nulls"] and header.endswith("drifted")
    assert len(lines) == 14 and "embedding[0] (output)" in out
    assert lines[-1] == (
        "0 of 12 features drifted at a false discovery rate of 0.05; 300 rows against 500 of the training"
    )


def test_drift_has_a_code_of_its_own(bundle: Bundle, moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift("check", bundle.folder, moved, "--no-outputs") == 105
    out = capsys.readouterr().out
    income, usage = sorted(out.splitlines()[1:3])
    assert income.startswith("income ") and "->" in income and income.endswith("yes")
    assert usage.startswith("usage ") and " std " in usage and usage.endswith("yes")
    assert "2 of 4 features drifted at a false discovery rate of 0.05: " in out


def test_json_has_all_of_it(bundle: Bundle, moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift("check", bundle.folder, moved, "--format", "json", "--false-discoveries", 1e-9) == 105
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == bundle.digest and told["false_discoveries"] == 1e-9
    assert {"usage", "income"} <= set(told["drifted"])
    [usage] = [feature for feature in told["features"] if feature["feature"] == "usage"]
    assert usage["drifted"] and usage["adjusted_p"] >= usage["p"] and usage["shift_std"] > 0.5
    assert usage.keys() == {
        "feature", "role", "kind", "values", "nulls", "reference_nulls", "outside", "distance", "by_chance",
        "shift_std", "p", "adjusted_p", "drifted",
    }  # fmt: skip


def refusal(*arguments: Any) -> str:
    with pytest.raises(ForgelineError) as caught:
        drift("check", *arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_what_is_refused_says_what_is_allowed(
    bundle: Bundle, bare_bundle: Path, new: Path, customers: Customers, tmp_path: Path
) -> None:
    text = tmp_path / "new.txt"
    text.write_text(new.read_text())
    assert "is not a table; allowed: .csv, .tsv, .parquet, .pq" in refusal(bundle.folder, text)
    assert "did you mean" in refusal(bundle.folder, tmp_path / "mew.csv")
    assert "no reference statistics" in refusal(bare_bundle, new)
    assert "--false-discoveries is 2" in refusal(bundle.folder, new, "--false-discoveries", 2)
    few, without = tmp_path / "few.csv", tmp_path / "without.csv"
    customers(7, 5).to_csv(few, index=False)
    customers(7, 50).rename(columns={"usage": "usages"}).to_csv(without, index=False)
    assert "5 rows; allowed: 30 or more" in refusal(bundle.folder, few)
    assert "no column 'usage'; did you mean `usages`" in refusal(bundle.folder, without)
