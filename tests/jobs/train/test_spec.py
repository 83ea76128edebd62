"""The spec of `kind: train`: defaults, and the checks that cross its fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.spec.loading import load

SPECS = sorted((Path(__file__).parents[3] / "jobs" / "specs").glob("*.yaml"))
SMALL: dict[str, Any] = {
    "kind": "train",
    "name": "small",
    "architecture": {"name": "mlp"},
    "data": {"name": "wine", "batch_size": 16},
}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_shipped_spec_is_valid(path: Path) -> None:
    assert load(path).spec.name


def test_ten_epochs_unless_a_length_is_given() -> None:
    assert load(SMALL).spec.trainer.epochs == 10
    stepped = load(SMALL, set={"trainer.steps": 5}).spec
    assert (stepped.trainer.steps, stepped.trainer.epochs) == (5, None)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"trainer.epochs": 1, "trainer.steps": 1}, ["epochs", "steps", "not both"]),
        ({"resources.workers": 3}, ["data.batch_size 16", "15 or 18", "resources.workers"]),
        ({"trainer.precision": "16-mixed"}, ["16-mixed needs a GPU", "bf16-mixed"]),
        ({"optimizer.lrr": 1}, ["optimizer.lrr", "`lr`"]),
        ({"optimizer.name": "adan"}, ["optimizer.name", "adan", "adam"]),
        ({"architecture.name": "resnet81"}, ["architecture.name", "resnet81", "did you mean"]),
        ({"data.name": "wines"}, ["data.name", "wines", "`wine`"]),
        ({"strategy": "dpp"}, ["strategy", "ddp"]),
        ({"fine_tune.learning_rates": {"head.*": 0}}, ["fine_tune.learning_rates", "head.*", "greater than 0"]),
        ({"trainer.epochs": "many"}, ["trainer.epochs", "many"]),
    ],
)
def test_wrong_values_name_the_key_and_what_is_allowed(change: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load(SMALL, set=change)
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in str(caught.value)


def test_best_means_the_gates_metric_unless_one_is_named() -> None:
    assert load(SMALL).spec.monitor == "val/loss"
    gated = {**SMALL, "register": {"model": "wine", "gate": {"metric": "val/accuracy", "at_least": 0.5}}}
    assert load(gated).spec.monitor == "val/accuracy"
    assert load(gated, set={"checkpoint.metric": "val/f1"}).spec.monitor == "val/f1"
