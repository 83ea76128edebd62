"""Freezing, learning-rate factors and weight-decay groups, by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forgeline_architectures.optimisation.options import OptimizerConfig, TrainingOptions
from forgeline_architectures.optimisation.parameters import freeze, frozen_norms, groups


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.layer1 = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.layer2 = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2)


def options(**changes: object) -> TrainingOptions:
    return TrainingOptions.model_validate({"total_steps": 10, "optimizer": {"lr": 0.1, "weight_decay": 0.5}, **changes})


def named(model: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


def test_biases_and_norms_are_not_decayed() -> None:
    net = Net()
    decayed, plain = groups(net, options())
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)
    assert named(net, decayed["params"]) == {"tokens.weight", "layer1.0.weight", "layer2.0.weight", "head.weight"}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(net.parameters()))


def test_embeddings_can_be_spared() -> None:
    net = Net()
    spared = options(optimizer=OptimizerConfig(weight_decay=0.5, decay_embeddings=False).model_dump())
    decayed, plain = groups(net, spared)
    assert "tokens.weight" in named(net, plain["params"]) and "tokens.weight" not in named(net, decayed["params"])


def test_decay_can_be_kept_to_some() -> None:
    net = Net()
    few = options(optimizer=OptimizerConfig(weight_decay=0.5, decay_only=("layer1.*", "head.*")).model_dump())
    decayed, plain = groups(net, few)
    assert named(net, decayed["params"]) == {"layer1.0.weight", "head.weight"}, "biases stay spared"
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(list(net.parameters()))


def test_factors_by_pattern_the_last_match_counts() -> None:
    net = Net()
    found = groups(net, options(learning_rates={"layer*": 0.1, "layer2.*": 0.5}))
    rates = {name: group["lr"] for group in found for name in named(net, group["params"])}
    assert rates["layer1.0.weight"] == pytest.approx(0.01)
    assert rates["layer2.0.bias"] == pytest.approx(0.05)
    assert rates["head.weight"] == pytest.approx(0.1)
    assert found[0]["lr"] == pytest.approx(0.1), "the logged learning rate is the plain one"


def test_frozen_parameters_are_in_no_group() -> None:
    net = Net()
    freeze(net, ["layer1.*", "tokens.*"])
    trained = {name for group in groups(net, options()) for name in named(net, group["params"])}
    assert {name.split(".")[0] for name in trained} == {"layer2", "head"}
    assert frozen_norms(net) == [net.layer1[1]]


@pytest.mark.parametrize("option", ["freeze", "learning_rates", "optimizer.decay_only"])
def test_a_pattern_that_matches_nothing_is_named_with_near_ones(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option}: pattern 'layr1\.\*' matches none .*layer1"):
        if option == "freeze":
            freeze(Net(), ["layr1.*"])
        elif option == "optimizer.decay_only":
            groups(Net(), options(optimizer={"decay_only": ["layr1.*"]}))
        else:
            groups(Net(), options(learning_rates={"layr1.*": 0.1}))


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="leave no parameter to train"):
        freeze(Net(), ["*"])


def test_wrapped_models_are_known_by_the_inner_names() -> None:
    class Wrapped(nn.Module):
        inner = "network"

        def __init__(self) -> None:
            super().__init__()
            self.network = Net()

    wrapped = Wrapped()
    freeze(wrapped, ["layer1.*"])
    assert not wrapped.network.layer1[0].weight.requires_grad
    assert wrapped.network.head.weight.requires_grad


def test_the_same_weights_get_the_same_order() -> None:
    torch.manual_seed(0)
    first, second = (groups(Net(), options(learning_rates={"layer*": 0.1})) for _ in range(2))
    shapes = [[[tuple(p.shape) for p in group["params"]] for group in found] for found in (first, second)]
    assert shapes[0] == shapes[1]
