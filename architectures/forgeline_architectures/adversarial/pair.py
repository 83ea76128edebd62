"""The two networks of a family: a generator of normal noise, and a discriminator of samples."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options


class AdversarialPair(nn.Module):
    """Base of the families' models. A family sets `generator` and `discriminator`, and gives `made` and `logits`.

    Args:
        latent: numbers of the noise that a sample is made of.
        signature: of the data.
    """

    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, latent: int, signature: Signature) -> None:
        super().__init__()
        self.latent = latent
        self.learnt = signature.learnt
        self.shape = signature.outputs

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        """What the discriminator says of the batch's own samples."""
        return self.logits(batch[self.learnt], batch)

    @abstractmethod
    def made(self, noise: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]) -> Tensor:
        """Samples [batch, *outputs] of noise."""

    @abstractmethod
    def logits(self, samples: Tensor, condition: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        """How much samples [batch, *outputs] look like data: log-odds, or an unbounded score."""

    def noise(
        self, count: int, *, device: torch.device, generator: torch.Generator | None = None
    ) -> Float[Tensor, "count latent"]:
        """What samples are made of; torch's own random numbers when no generator is given."""
        return torch.randn(count, self.latent, generator=generator, device=device)

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        """Samples [count, *outputs]; there are no options.

        Raises:
            ValueError: an option is given.
        """
        check_options(options, {})
        return self.made(self.noise(count, device=generator.device, generator=generator), condition)
