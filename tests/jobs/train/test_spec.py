"""The spec of `kind: train`: defaults, and the checks that cross its fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import TrainSpec

SPECS = sorted((Path(__file__).parents[3] / "jobs" / "specs").rglob("*.yaml"))
SMALL: dict[str, Any] = {
    "kind": "train",
    "name": "small",
    "architecture": {"name": "mlp"},
    "data": {"name": "wine", "batch_size": 16},
}


@pytest.fixture(scope="module")
def prepared_once() -> Iterator[None]:
    """Specs that share their data have them prepared once."""
    found: dict[str, PreparedData] = {}

    def prepared(config: Any) -> PreparedData:
        key = config.model_dump_json()
        if key not in found:
            found[key] = prepare(config)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forgeline_jobs.train.kind.prepare", prepared)
        yield


@pytest.mark.usefixtures("prepared_once")
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_shipped_spec_passes_the_checks_before_a_run(path: Path) -> None:
    spec: Any = load(path).spec
    if spec.kind == "train" and spec.fine_tune.parts:  # whose models are not here yet
        spec = load(path, set={"fine_tune.parts": {}}).spec
    if spec.kind == "train" and spec.fine_tune.pretrained is None:  # nor is this one
        assert TrainKind().check(spec)["task"]


def test_ten_epochs_unless_a_length_is_given() -> None:
    assert load(SMALL).spec.trainer.epochs == 10
    stepped = load(SMALL, set={"trainer.steps": 5}).spec
    assert (stepped.trainer.steps, stepped.trainer.epochs) == (5, None)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"trainer.epochs": 1, "trainer.steps": 1}, ["epochs", "steps", "not both"]),
        ({"resources.workers": 3}, ["data.batch_size 16", "15 or 18", "resources.workers"]),
        ({"resources.workers": "3..3"}, ["data.batch_size 16", "15 or 18", "resources.workers"]),
        (
            {"resources.workers": "5..7"},
            [
                "data.batch_size 16",
                "resources.workers 5..7",
                "a range with 4 or 8 in it",
                "data.batch_size to 15 or 20",
            ],
        ),
        ({"resources.workers": "4..2"}, ["resources.workers", "reversed", "`2..4`"]),
        (
            {"resources.workers": "3..4", "trainer.micro_batch": 3},
            ["no number of resources.workers 3..4 shares it evenly"],
        ),
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


def test_label_smoothing_is_refused_where_no_loss_takes_it() -> None:
    with pytest.raises(
        SpecError, match="got 0.1; label smoothing is for classification, token_classification, translation"
    ):
        TrainKind().check(load({**SMALL, "data": {"name": "diabetes"}}, set={"trainer.label_smoothing": 0.1}).spec)


def test_compiling_is_refused_with_the_familys_reason() -> None:
    compiled = load(SMALL, set={"architecture": {"name": "dsn"}, "trainer.compile": True}).spec
    with pytest.raises(SpecError, match=r"dsn is not compiled \(a step solves linear systems.*set it to false"):
        TrainKind().check(compiled)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"resources.workers": 4}, (4,)),
        ({"resources.workers": "2..8"}, (2, 4, 8)),
        ({"resources.workers": "3..8"}, (4, 8)),
        ({"resources.workers": "1..8", "strategy": {"name": "fsdp", "tensor_parallel": 2}}, (2, 4, 8)),
        ({"resources.workers": "1..16", "trainer.micro_batch": 4}, (1, 2, 4)),
        ({"resources.workers": "1..16", "architecture.norm": "batch"}, (1, 2, 4, 8)),
    ],
)
def test_of_a_range_only_numbers_that_share_a_batch_evenly_are_taken(
    change: dict[str, Any], counts: tuple[int, ...]
) -> None:
    spec = load(SMALL, set=change).spec
    assert isinstance(spec, TrainSpec)
    assert spec.worker_counts == counts
    assert spec.workers == counts[0]
    for count in counts:
        assert spec.with_workers(count).share * spec.with_workers(count).readers == 16
    assert load(load(SMALL, set=change).text).spec == spec
