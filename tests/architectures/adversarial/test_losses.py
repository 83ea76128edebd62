"""The games by hand: what each player pays for scores."""

from __future__ import annotations

import math

import pytest
import torch

from forgeline_architectures.adversarial.losses import GAMES

ON_REAL, ON_FAKE = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@pytest.mark.parametrize(
    ("game", "discriminator", "generator"),
    [
        (
            "non_saturating",
            (softplus(-2) + softplus(-0.5) + softplus(-3) + softplus(0)) / 2,
            (softplus(3) + softplus(0)) / 2,
        ),
        ("hinge", (0 + 0.5 + 0 + 1) / 2, 1.5),  # beyond 1 on the right side costs nothing
        ("wasserstein", -1.5 - 1.25, 1.5),
    ],
)
def test_losses(game: str, discriminator: float, generator: float) -> None:
    assert GAMES[game].discriminator(ON_REAL, ON_FAKE).item() == pytest.approx(discriminator)
    assert GAMES[game].generator(ON_FAKE).item() == pytest.approx(generator)


@pytest.mark.parametrize("game", GAMES)
def test_the_players_pull_apart(game: str) -> None:
    """The discriminator wants low scores of what is made and high ones of data, the generator the contrary."""
    scores = torch.zeros(4, requires_grad=True)
    (made,) = torch.autograd.grad(GAMES[game].discriminator(torch.zeros(4), scores), scores)
    (data,) = torch.autograd.grad(GAMES[game].discriminator(scores, torch.zeros(4)), scores)
    (ours,) = torch.autograd.grad(GAMES[game].generator(scores), scores)
    assert (made > 0).all() and (data < 0).all() and (ours < 0).all()
