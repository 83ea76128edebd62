"""Machines small enough to count every state: energies, the gradient of contrast, what training does to likelihood."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.dbn import ARCHITECTURE
from forgeline_architectures.dbn.model import RBM, DeepBeliefNetwork
from forgeline_architectures.tasks.generation import Generator, Illustrated

IMAGE = {"image": {"shape": [1, 2, 3], "dtype": "float32"}}
MADE = {"task": "generation", "inputs": IMAGE, "outputs": [1, 2, 3]}
TOLD = {"task": "classification", "inputs": IMAGE, "outputs": [3]}


def network(signature: dict[str, Any] = MADE, **config: Any) -> DeepBeliefNetwork:
    torch.manual_seed(0)
    model = ARCHITECTURE.build_model({"name": "dbn", "hidden": [5, 4], **config}, signature)
    assert isinstance(model, DeepBeliefNetwork) and isinstance(model, Generator) and isinstance(model, Illustrated)
    return model.eval()


def machine() -> RBM:
    torch.manual_seed(0)
    rbm = RBM(4, 3)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.normal_()
    return rbm


def states(units: int) -> Tensor:
    return torch.tensor(list(product((0.0, 1.0), repeat=units)))


def energies(rbm: RBM) -> Tensor:
    """Of every pair of visible and hidden states, [visible states, hidden states]."""
    visible, hidden = states(4), states(3)
    pairs = visible @ rbm.weight.t() @ hidden.t()
    return -(visible @ rbm.visible_bias)[:, None] - hidden @ rbm.hidden_bias - pairs


@torch.no_grad()
def test_free_energy_and_conditionals_are_those_of_the_joint_distribution() -> None:
    rbm = machine()
    joint = (-energies(rbm)).softmax(1)  # of hidden states, given each visible one
    torch.testing.assert_close(rbm.free_energy(states(4)), -torch.logsumexp(-energies(rbm), 1))
    torch.testing.assert_close(rbm.up(states(4)), joint @ states(3))
    torch.testing.assert_close(rbm.down(states(3)), (-energies(rbm)).softmax(0).t() @ states(4))


@torch.no_grad()
def test_gibbs_chains_come_to_the_distribution() -> None:
    rbm = machine()
    rbm.weight.mul_(0.5)  # so that they mix
    found, _ = rbm.gibbs(torch.zeros(20_000, 4), 50, torch.Generator().manual_seed(0))
    number = (found @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    shares = torch.bincount(number, minlength=16) / len(found)
    assert (shares - (-rbm.free_energy(states(4))).softmax(0)).abs().max() < 0.015


def test_the_gradient_is_the_difference_of_statistics() -> None:
    model, shown = network(), torch.rand(7, 6, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    loss, _ = model.contrast(shown, shown, 0)
    loss.backward()
    rbm = model.machines[0]
    torch.manual_seed(2)
    with torch.no_grad():
        _, made = rbm.gibbs(shown, 1)
        wanted = (rbm.up(made).t() @ made - rbm.up(shown).t() @ shown) / 7
    assert rbm.weight.grad is not None and rbm.visible_bias.grad is not None
    torch.testing.assert_close(rbm.weight.grad, wanted)
    torch.testing.assert_close(rbm.visible_bias.grad, (made - shown).mean(0))


def test_chains_start_where_they_are_told_and_take_k_steps() -> None:
    model, shown = network(gibbs_steps=3), torch.rand(7, 6)
    start = torch.ones(2, 6)
    torch.manual_seed(4)
    _, found = model.contrast(shown, start, 0)
    torch.manual_seed(4)
    wanted = start
    for _ in range(3):
        wanted, _ = model.machines[0].gibbs(wanted, 1)
    assert torch.equal(found, wanted)


def test_a_picture_is_stretched_whatever_its_scale() -> None:
    model = network()
    picture = torch.rand(4, 1, 2, 3)
    same = model.visible({"image": picture * 3.2 - 0.42})
    torch.testing.assert_close(model.visible({"image": picture}), same)
    torch.testing.assert_close(torch.stack(same.aminmax(dim=1)), torch.tensor([[0.0], [1.0]]).expand(2, 4))
    assert torch.equal(model.visible({"image": torch.full((1, 1, 2, 3), 0.7)}), torch.zeros(1, 6))


@torch.no_grad()
def test_samples_are_those_of_the_last_layer_sent_down() -> None:
    model = network()
    first, second = (
        model.sample(3, {}, generator=torch.Generator().manual_seed(3), options={"steps": 5}) for _ in "ab"
    )
    assert torch.equal(first, second) and first.shape == (3, 1, 2, 3) and first.abs().max() <= 1
    for weight in (model.machines[0].weight, model.machines[0].visible_bias):
        weight.zero_()
    model.machines[0].visible_bias[:] = torch.tensor([9.0, 9, 9, -9, -9, -9])
    made = model.sample(2, {}, generator=torch.Generator().manual_seed(3), options={"steps": 1})
    torch.testing.assert_close(made[:, 0].sign(), torch.tensor([[1.0, 1, 1], [-1, -1, -1]]).expand(2, 2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 3}, r"unknown option 'eta'; allowed: steps \(a whole number above 0\)"),
        ({"steps": 0}, "steps is 0; allowed: a whole number above 0"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().sample(1, {}, generator=torch.Generator(), options=options)


def test_weights_of_the_lowest_layer_are_shown() -> None:
    shown = network(hidden=[23]).illustrations(generator=torch.Generator())["weights"]
    assert shown.shape == (2, 10, 1, 2, 3)
    torch.testing.assert_close(shown.abs().flatten(2).amax(2), torch.ones(2, 10))


def test_a_classifier_takes_over_all_but_its_last_layer() -> None:
    from forgeline_architectures.transfer import fresh_weights

    shapes = {name: list(tensor.shape) for name, tensor in network().state_dict().items()}
    config = {"name": "dbn", "hidden": [5, 4]}
    assert fresh_weights(ARCHITECTURE, config, TOLD, shapes, new_head=True) == {"head.weight", "head.bias"}


def test_a_classifier_trains_what_its_answer_depends_on() -> None:
    model = network(TOLD)
    model({"image": torch.rand(4, 1, 2, 3)}).sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert not any("visible_bias" in name for name in trained)


def test_published_network() -> None:
    """784-500-500-2000 of Hinton, Osindero & Teh 2006, without its 10 labels."""
    picture = {"image": {"shape": [1, 28, 28], "dtype": "float32"}}
    with torch.device("meta"):
        deep = ARCHITECTURE.build_model({"name": "dbn"}, {**MADE, "inputs": picture, "outputs": [1, 28, 28]})
        one = ARCHITECTURE.build_model({"name": "rbm"}, {**MADE, "inputs": picture, "outputs": [1, 28, 28]})
    # A machine of v visible and h hidden units has v h + v + h.
    assert sum(parameter.numel() for parameter in one.parameters()) == 784 * 500 + 784 + 500
    assert sum(parameter.numel() for parameter in deep.parameters()) == 1_642_000 + 784 + 3 * 500 + 500 + 2000


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"an rbm has one layer, got hidden \[5, 4\]; .*name it dbn"):
        ARCHITECTURE.build_model({"name": "rbm", "hidden": [5, 4]}, MADE)
