"""Penalties of a score whose gradient is known, and how they move the weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from forgeline_architectures.adversarial.penalties import away_from_one, gradients, r1

REAL, FAKE = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [-1.0, 0.0]])


def steep() -> nn.Linear:
    """3x + 4y, of gradient norm 5."""
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
    return layer


def test_penalties_of_a_gradient_of_norm_five() -> None:
    assert r1(steep(), REAL).item() == pytest.approx(25 / 2)
    assert away_from_one(steep(), REAL, FAKE).item() == pytest.approx(16)


def test_penalties_reach_the_weights() -> None:
    score = steep()
    away_from_one(score, REAL, FAKE).backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    assert score.weight.grad == pytest.approx(torch.tensor([[8 * 0.6, 8 * 0.8]]))


def test_each_sample_has_its_own_gradient() -> None:
    def squares(samples: Tensor) -> Tensor:
        return samples.square().sum((1, 2, 3))

    samples = torch.randn(3, 1, 2, 2)
    assert gradients(squares, samples).detach() == pytest.approx(2 * samples.flatten(1))
    assert r1(squares, samples).item() == pytest.approx(2 * samples.square().sum().item() / 3)


def test_the_gradient_is_taken_between_datum_and_sample() -> None:
    """The slope of x^2 / 2 is x: norms are between those of the two ends."""
    torch.manual_seed(0)
    real, fake = torch.full((200, 1), 1.0), torch.full((200, 1), 3.0)
    found = away_from_one(lambda samples: samples.square().sum(1) / 2, real, fake).item()
    assert found == pytest.approx(4 / 3, rel=0.2)  # the mean of (2 share)^2
