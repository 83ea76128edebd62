"""The rows of the group `families`: no family is left out, and what is done in stages fits into their steps."""

from __future__ import annotations

from pathlib import Path
from shutil import copy
from typing import cast

import pytest

from benchmarks import families
from benchmarks.bars import SPECS
from forgeline.spec.loading import load
from forgeline_architectures import Architecture
from forgeline_jobs.train.spec import TrainSpec
from tests.architectures.cases import FAMILIES


def trained_by(spec: str) -> TrainSpec:
    return cast(TrainSpec, load(SPECS / spec, set=families.changes(spec)).spec)


def test_every_family_has_a_row() -> None:
    models = {trained_by(spec).architecture.name for spec in families.specs()}
    own = {name for name, family in FAMILIES.items() if models & set(cast(Architecture, family).model_names())}
    assert own | {"cnn"} == set(FAMILIES), "a family of the package is trained by no row"
    assert "resnet18" in models


@pytest.mark.parametrize("spec", list(families.specs()))
def test_every_stage_fits_into_the_steps(spec: str) -> None:
    settings = trained_by(spec).architecture.model_dump()
    assert settings.get("autoencoder_steps", 0) < families.STEPS
    assert settings.get("stage_steps", 0) * len(settings.get("widths") or ()) <= families.STEPS


def test_a_spec_of_which_modules_alone_come_from_a_run_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo").mkdir()
    for name in ("dbn-labels.yaml", "imagen.yaml"):
        copy(SPECS / "zoo" / name, tmp_path / "zoo")
    monkeypatch.setattr(families, "SPECS", tmp_path)
    assert list(families.specs()) == ["tinyshakespeare.yaml", "zoo/imagen.yaml"]
    settings = load(tmp_path / "zoo" / "imagen.yaml", set=families.changes("zoo/imagen.yaml")).spec
    tuning = cast(TrainSpec, settings).fine_tune
    assert (tuning.parts, tuning.freeze) == ({}, ("text.*",))
