"""What of a trained model another takes over: the last layer is found, and everything else has to fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgeline_architectures import Architecture
from forgeline_architectures.cnn import ARCHITECTURE as CNN
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.lenet import ARCHITECTURE as LENET
from forgeline_architectures.mlp import ARCHITECTURE as MLP
from forgeline_architectures.recurrent import ARCHITECTURE as RECURRENT
from forgeline_architectures.transfer import fresh_weights, head_of, shapes_of
from tests.architectures.cases import CASES, FAMILIES, signature_of

RESNET = {"name": "resnet10t"}
TOKENS = {"tokens": {"shape": [8], "dtype": "int64"}}
SERIES = {"series": {"shape": [12, 2], "dtype": "float32"}}


def images(classes: int = 10, size: int = 28) -> dict[str, Any]:
    image = {"image": {"shape": [1, size, size], "dtype": "float32"}}
    return {"task": "classification", "inputs": image, "outputs": [classes]}


@pytest.mark.parametrize(
    ("family", "config", "signature", "head"),
    [
        (CNN, RESNET, images(), {"network.fc.weight", "network.fc.bias"}),
        (LENET, {"name": "lenet"}, images(), {"head.weight", "head.bias"}),
        (MLP, {"name": "mlp", "wide": True}, images(), {"head.weight", "head.bias", "wide.weight"}),
        (
            RECURRENT,
            {"name": "lstm", "hidden": 4},
            {"task": "forecasting", "inputs": SERIES, "outputs": [3, 2]},
            {"head.weight", "head.bias"},
        ),
        (
            GPT,
            {"name": "gpt", "layers": 1, "heads": 2, "width": 8},
            {"task": "language_modelling", "inputs": TOKENS, "outputs": [11]},
            {"tokens.weight"},
        ),
    ],
    ids=["resnet", "lenet", "mlp", "lstm", "gpt"],
)
def test_the_last_layer_is_what_depends_on_the_outputs(
    family: Architecture, config: dict[str, Any], signature: dict[str, Any], head: set[str]
) -> None:
    assert head_of(family, config, signature) == head


@pytest.mark.parametrize(
    ("name", "config", "task", "inputs", "outputs"),
    CASES,
    ids=[f"{config['name']}-{task}-{index}" for index, (_, config, task, _, _) in enumerate(CASES)],
)
def test_a_model_of_any_family_can_be_started_from(
    name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
) -> None:
    family, signature = FAMILIES[name], signature_of(task, inputs, outputs)
    weights = shapes_of(family, config, signature)
    assert fresh_weights(family, config, signature, weights, new_head=False) == frozenset()
    head = fresh_weights(family, config, signature, weights, new_head=True)
    assert head <= set(weights) and bool(head) is (task not in {"generation", "reconstruction"})


def test_all_is_taken_over_where_the_outputs_mean_the_same() -> None:
    weights = shapes_of(CNN, RESNET, images(size=64))
    assert fresh_weights(CNN, RESNET, images(), weights, new_head=False) == frozenset(), "convolutions fit any size"
    head = {"network.fc.weight", "network.fc.bias"}
    assert fresh_weights(CNN, RESNET, images(), weights, new_head=True) == head
    assert fresh_weights(CNN, RESNET, images(classes=7), weights, new_head=False) == head


def test_what_does_not_fit_is_named() -> None:
    weights = shapes_of(LENET, {"name": "lenet"}, images())
    with pytest.raises(ValueError, match=r"dense.0.weight is 120x400 there and 120x64 here.*architecture.image_size"):
        fresh_weights(LENET, {"name": "lenet"}, images(size=16), weights, new_head=False)
    narrow = {"name": "mlp", "hidden": [4]}
    with pytest.raises(ValueError, match=r"hidden.1.linear.bias is 4 there and missing here"):
        fresh_weights(MLP, narrow, images(), shapes_of(MLP, {**narrow, "hidden": [4, 4]}, images()), new_head=True)


def test_a_module_takes_over_weights_and_keeps_what_is_fresh() -> None:
    options = {"total_steps": 1, "ema": 0.9}
    source = MLP.build_model({"name": "mlp", "hidden": [4]}, images()).state_dict()
    module: Any = MLP.build_module({"name": "mlp", "hidden": [4]}, images(), options)
    fresh = module.model.head.weight.detach().clone()
    module.start_from(source, fresh={"head.weight"})
    torch.testing.assert_close(module.model.hidden[0].linear.weight, source["hidden.0.linear.weight"])
    torch.testing.assert_close(module.model.head.weight, fresh)
    torch.testing.assert_close(module.model.head.bias, source["head.bias"])
    averaged = module.ema.averages()["hidden.0.linear.weight"]
    torch.testing.assert_close(averaged, source["hidden.0.linear.weight"])
    with pytest.raises(ValueError, match="do not fit"):
        module.start_from({"head.bias": source["head.bias"]})
