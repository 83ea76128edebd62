"""`forgeline export`: what it prints and writes, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import UsageError
from forgeline.export import load_exported
from forgeline_deploy.commands import EXPORT

Customers = Callable[[int, int], pd.DataFrame]


def export(*arguments: Any) -> int:
    """The command as the root of the command line runs it."""
    code = EXPORT.load().main([*map(str, arguments)], prog_name="forgeline export", standalone_mode=False)
    return code if isinstance(code, int) else 0


@pytest.fixture
def held_out(customers: Customers, tmp_path: Path) -> Path:
    path = tmp_path / "held-out.csv"
    customers(5, 60).to_csv(path, index=False)
    return path


def test_a_table_of_before_and_after(
    bundle: Bundle, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    asked = ["--to", "onnx", "--to", "int8-static", "--data", held_out, "--calibrate", held_out, "--repetitions", 3]
    assert export(bundle.folder, "--output", folder, *asked) == 0
    out, err = capsys.readouterr()
    header, original, onnx, static = out.splitlines()[:4]
    assert header.split() == "form size p50 p99 p50 of 32 p99 of 32 parity accuracy".split()
    assert [line.split()[0] for line in (original, onnx, static)] == ["original", "onnx", "int8-static"]
    assert f"measured on 60 samples of {held_out}, with 1 thread, up to 3 calls each" in out
    assert f"wrote model-int8-static.onnx, model.onnx to {folder}" in err
    rows = pd.read_csv(held_out)
    exported = load_exported(folder, "onnx").predict(rows)
    assert list(exported["prediction"]) == list(bundle.predict(rows, device="cpu")["prediction"])


def test_json_has_every_figure(
    bundle: Bundle, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--data", held_out, "--prune", "50%", "--channels", "--repetitions", 1, "--format", "json"]
    assert export(bundle.folder, "-o", tmp_path / "out", *asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == bundle.digest and told["pruned"] == {"share": 0.5, "channels": True}
    assert told["files"] == {"onnx": "model.onnx"} and told["refused"] == {}
    assert [row["format"] for row in told["figures"]] == ["original", "onnx"]
    assert {row["metric"] for row in told["figures"]} == {"accuracy"}


def test_nothing_is_measured_where_it_is_not_asked_for(
    bundle: Bundle, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(bundle.folder, "-o", tmp_path / "out", "--to", "pt2", "--data", held_out, "--no-measure") == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out" / "model.pt2").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--channels"], "give --prune SHARE as well"),
        (["--prune", "half"], "'half' is no share; allowed: such as 50% or 0.5"),
        (["--prune", "150%"], "a share of 1.5 cannot be pruned"),
        ([], "does not say what it was trained on; give --data FILE and --calibrate FILE"),
    ],
)
def test_wrong_usage(bundle: Bundle, tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        export(bundle.folder, "-o", tmp_path / "out", *options)
    assert raised.value.exit_code == 2
    assert not (tmp_path / "out").exists()
