"""What a spec says of its strategy: what it may be, and what is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from forgeline.errors import SpecError, UsageError
from forgeline.launching.resuming import check_unchanged
from forgeline.spec.loading import dump, load
from forgeline_jobs.train.kind import TrainKind

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "resources": {"workers": 2},
}


@pytest.mark.parametrize("name", ["ddp", "fsdp", "deepspeed"])
def test_a_plain_name_is_a_strategy_without_settings(name: str) -> None:
    plain = load(WINE, set={"strategy": name}).spec
    assert plain.strategy == load(WINE, set={"strategy": {"name": name}}).spec.strategy
    assert plain.strategy == load(dump(plain)).spec.strategy
    TrainKind().check(plain)


def test_zero_shares_out_gradients_unless_another_stage_is_named() -> None:
    assert load(WINE, set={"strategy": "deepspeed"}).spec.strategy.zero_stage == 2
    assert load(WINE, set={"strategy": {"name": "deepspeed", "zero_stage": 3}}).spec.strategy.zero_stage == 3


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"strategy": "dpp"}, ["strategy", "'dpp'", "ddp, fsdp, deepspeed"]),
        ({"strategy": {"name": "fsdp", "zero_stage": 2}}, ["strategy", "zero_stage"]),
        ({"strategy": {"name": "deepspeed", "zero_stage": 4}}, ["strategy", "zero_stage", "4"]),
        (
            {"strategy": {"name": "deepspeed", "offload": {"parameters": "cpu"}}},
            ["offload.parameters cpu", "zero_stage is 2", "strategy.zero_stage to 3"],
        ),
        (
            {"strategy": {"name": "deepspeed", "zero_stage": 2, "offload": {"optimizer": "nvme", "path": "/nvme"}}},
            ["nvme needs zero_stage 3", "strategy.offload.optimizer to cpu"],
        ),
        (
            {"strategy": {"name": "deepspeed", "zero_stage": 3, "offload": {"optimizer": "nvme"}}},
            ["offload", "set path"],
        ),
        (
            {"strategy": {"name": "deepspeed", "zero_stage": 3, "offload": {"optimizer": "nvme", "path": "/nvme"}}},
            ["nvme needs a GPU", "resources.gpus_per_worker is 0"],
        ),
        ({"strategy": {"name": "deepspeed", "offload": {"path": "/nvme"}}}, ["path '/nvme'", "remove it"]),
        ({"strategy": "fsdp", "trainer.ema": 0.9}, ["trainer.ema is 0.9", "remove trainer.ema"]),
        ({"strategy": "deepspeed", "trainer.compile": True}, ["set trainer.compile to false"]),
        (
            {"strategy": "fsdp", "trainer.precision": "16-mixed", "resources.gpus_per_worker": 1},
            ["16-mixed", "trainer.precision to bf16-mixed"],
        ),
        (
            {"strategy": "fsdp", "fine_tune": {"pretrained": "models:/wine@champion", "adapter": {"layers": ["*"]}}},
            ["no adapters", "remove fine_tune.adapter"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_key_to_change(change: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load(WINE, set=change)
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "data", "reason"),
    [
        ({"name": "gan"}, {"name": "gaussians25", "batch_size": 16}, "two optimisers"),
        ({"name": "dsn"}, {"name": "wine", "batch_size": 16}, "needs whole ones"),
    ],
)
def test_a_model_that_cannot_be_shared_out_is_refused(
    architecture: dict[str, Any], data: dict[str, Any], reason: str
) -> None:
    spec = load({**WINE, "architecture": architecture, "data": data, "strategy": "fsdp"}).spec
    with pytest.raises(SpecError, match=f"got fsdp.*{reason}.*set it to ddp"):
        TrainKind().check(spec)


def test_a_run_keeps_its_strategy_and_may_change_its_settings() -> None:
    before = load(WINE, set={"strategy": "deepspeed"}).text
    check_unchanged("1", stored=before, given=load(WINE, set={"strategy": {"name": "deepspeed", "zero_stage": 3}}).text)
    check_unchanged("1", stored=before, given=load(WINE, set={"strategy": "deepspeed", "resources.workers": 1}).text)
    with pytest.raises(UsageError, match="another strategy"):
        check_unchanged("1", stored=before, given=load(WINE, set={"strategy": "ddp"}).text)


@pytest.mark.parametrize(
    "case",
    [
        ({"name": "mlp"}, {"name": "wine", "batch_size": 16}),
        ({"name": "test_resnet"}, {"name": "digits", "batch_size": 16}),  # of timm, whose transformers have blocks
    ],
)
def test_a_model_without_blocks_is_not_computed_twice(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    spec = load({**WINE, "architecture": case[0], "data": case[1], "trainer": {"gradient_checkpointing": True}}).spec
    with pytest.raises(SpecError, match="got true.*has no repeated blocks.*set it to false") as caught:
        TrainKind().check(spec)
    assert caught.value.key == "trainer.gradient_checkpointing"


@pytest.mark.parametrize(
    ("architecture", "workers", "message"),
    [
        ({"name": "palm", "layers": 1, "heads": 2, "width": 16, "head_width": 8}, 2, "palm has no plan"),
        ({"name": "gpt", "layers": 1, "heads": 3, "width": 18}, 2, "heads 3 is not shared evenly"),
        ({"name": "llama", "layers": 1, "heads": 4, "key_value_heads": 1, "width": 16}, 2, "key_value_heads 1 is not"),
    ],
)
def test_matrices_that_cannot_be_shared_are_refused(architecture: dict[str, Any], workers: int, message: str) -> None:
    text = {"name": "tinyshakespeare", "batch_size": 8, "context": 32}
    change = {"architecture": {**architecture, "context": 32}, "data": text}
    spec = load({**WINE, **change, "strategy": {"name": "fsdp", "tensor_parallel": workers}}).spec
    with pytest.raises(SpecError, match=message):
        TrainKind().check(spec)


def test_workers_that_share_matrices_read_the_same_samples() -> None:
    shared = {"strategy": {"name": "fsdp", "tensor_parallel": 2}, "resources.workers": 4, "data.batch_size": 2}
    assert load(WINE, set=shared).spec.readers == 2
    with pytest.raises(SpecError, match="tensor_parallel 2 does not divide resources.workers 3"):
        load(WINE, set={**shared, "resources.workers": 3})
