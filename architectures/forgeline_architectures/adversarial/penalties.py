"""Penalties on how steeply a discriminator's score rises, to be added to its loss while it is trained."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# Scores [batch] of samples [batch, *outputs], under whatever conditions the caller has bound.
Score = Callable[[Tensor], Tensor]


def r1(score: Score, real: Tensor) -> Float[Tensor, ""]:
    """Half the mean squared norm of the gradient at data: Mescheder et al. 2018 (arXiv:1801.04406, equation 9)."""
    return gradients(score, real).square().sum(1).mean() / 2


def away_from_one(score: Score, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
    """Mean squared distance from 1 of the gradient's norm, anywhere between a sample and a datum.

    Gulrajani et al. 2017 (arXiv:1704.00028, equation 3).
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    made = fake.detach().to(real.dtype)  # of 16 bits under autocast
    norm: Tensor = gradients(score, torch.lerp(real, made, share)).norm(dim=1)
    return (norm - 1).square().mean()


def gradients(score: Score, samples: Tensor) -> Float[Tensor, "batch size"]:
    """Of the score by its samples, differentiable by the weights."""
    samples = samples.detach().requires_grad_()
    (found,) = torch.autograd.grad(score(samples).sum(), samples, create_graph=True)
    return found.flatten(1)
