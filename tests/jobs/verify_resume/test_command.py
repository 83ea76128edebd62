"""`forgeline verify-resume`: a killed run held against one that is not, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forgeline.cli.app import main

SPEC = """
kind: train
name: wine-verified
architecture: {name: mlp, hidden: [16], dropout: 0.2}
data: {name: wine, batch_size: 16}
trainer: {steps: 150, validate_every: 50step}
resources: {workers: 2}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    path = tmp_path / "wine.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def _exit_code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["verify-resume", *map(str, arguments)])
    return int(left.value.code or 0)


@pytest.mark.ray
@pytest.mark.acceptance
def test_a_killed_run_takes_the_same_course(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(spec, "--at", 60, "--format", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["identical"] and answer["step"] >= 60 and answer["resumed_at"] > 0
    assert answer["compared"] >= 2 * 150


def test_a_step_that_the_run_does_not_have_is_refused(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(spec, "--at", 150) == 2
    assert "--at: got 150, and the run has 150 steps" in capsys.readouterr().err
    assert not (spec.parent / "home" / "runs").exists()


def test_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "predict.yaml"
    spec.write_text(
        "kind: predict\nname: p\nmodel: models:/m@champion\ninput: x.csv\noutput: y.parquet\n", encoding="utf-8"
    )
    assert _exit_code(spec, "--at", 3) == 2
    assert "verify-resume is for kind train" in capsys.readouterr().err
