"""Generator and discriminator of BigGAN.

The noise is dealt to the first layer and to every block, which is told its share beside the class. The discriminator's
score has a part that knows the class by a product with its row (Miyato & Koyama 2018, arXiv:1802.05637).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.biggan.config import BigGANConfig
from forgeline_architectures.biggan.layers import DownBlock, SelfAttention, UpBlock, conv, spectral
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options

OPTIONS = {"truncation": "a number above 0, beyond which no number of the noise is; none: as drawn"}


class Generator(nn.Module):
    """Noise and class to pictures from -1 to 1."""

    def __init__(self, config: BigGANConfig, channels: int, side: int, classes: int) -> None:
        super().__init__()
        sides = config.sides(side)
        share = config.latent // len(config.widths)
        self.shares, self.coarsest = len(config.widths), sides[0]
        self.embedding = nn.Embedding(classes, config.embedding)
        nn.init.orthogonal_(self.embedding.weight)
        self.first = spectral(nn.Linear(share, config.widths[0] * self.coarsest**2))
        self.blocks = nn.ModuleList(
            UpBlock(before, after, config.embedding + share) for before, after in pairwise(config.widths)
        )
        self.attention = _attention(config.attention, sides[1:], config.widths[1:])
        self.norm = nn.BatchNorm2d(config.widths[-1])
        self.last = conv(config.widths[-1], channels, 3)

    def forward(
        self, noise: Float[Tensor, "batch latent"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels side side"]:
        first, *shares = noise.chunk(self.shares, dim=1)
        told = self.embedding(label)
        maps = self.first(first).unflatten(1, (-1, self.coarsest, self.coarsest))
        for number, (block, share) in enumerate(zip(self.blocks, shares, strict=True)):
            maps = block(maps, torch.cat([told, share], dim=1))
            if str(number) in self.attention:
                maps = self.attention[str(number)](maps)
        return torch.tanh(self.last(F.relu(self.norm(maps))))


class Discriminator(nn.Module):
    """How much pictures look like data of their class."""

    def __init__(self, config: BigGANConfig, channels: int, side: int, classes: int) -> None:
        super().__init__()
        *widths, last = reversed(config.widths)
        _, *sides = reversed(config.sides(side))
        self.blocks = nn.ModuleList(
            DownBlock(before, after, first=number == 0)
            for number, (before, after) in enumerate(pairwise((channels, *widths)))
        )
        self.attention = _attention(config.attention, sides, widths)
        self.flat = DownBlock(widths[-1], last, halve=False)
        self.score = spectral(nn.Linear(last, 1))
        self.embedding = spectral(nn.Embedding(classes, last))

    def forward(
        self, pictures: Float[Tensor, "batch channels side side"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        maps = pictures
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if str(number) in self.attention:
                maps = self.attention[str(number)](maps)
        features = F.relu(self.flat(maps)).sum((2, 3))
        score: Tensor = self.score(features).squeeze(1) + (self.embedding(label) * features).sum(1)
        return score


def _attention(side: int | None, sides: Sequence[int], widths: Sequence[int]) -> nn.ModuleDict:
    """The attention after the block that gives maps of this side, under the block's number; nothing without one."""
    places = enumerate(zip(sides, widths, strict=True))
    return nn.ModuleDict({str(number): SelfAttention(width) for number, (each, width) in places if each == side})


class BigGAN(AdversarialPair):
    """The two networks."""

    def __init__(self, config: BigGANConfig, signature: Signature) -> None:
        super().__init__(config.latent, signature)
        channels, side, _ = signature.outputs
        classes = signature.conditions["label"]
        self.generator = Generator(config, channels, side, classes)
        self.discriminator = Discriminator(config, channels, side, classes)

    def made(
        self, noise: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channels side side"]:
        pictures: Tensor = self.generator(noise, condition["label"])
        return pictures

    def logits(
        self, samples: Float[Tensor, "batch channels side side"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        score: Tensor = self.discriminator(samples, condition["label"])
        return score

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels side side"]:
        """Pictures of the classes asked for.

        Args:
            count: how many.
            condition: the labels asked for, [count].
            generator: random numbers, on the model's device.
            options: `truncation`: the noise is drawn again where it is larger; lower is truer, less varied (Brock et
                al. 2019, section 3.1).

        Raises:
            ValueError: an option is unknown, or the truncation is not above 0.
        """
        check_options(options, OPTIONS)
        limit = options.get("truncation")
        if limit is None:
            noise = self.noise(count, device=generator.device, generator=generator)
        else:
            noise = truncated_normal(count, self.latent, limit=_above_zero(limit), generator=generator)
        return self.made(noise, condition)


def truncated_normal(
    rows: int, columns: int, *, limit: float, generator: torch.Generator
) -> Float[Tensor, "rows columns"]:
    """Normal numbers, drawn again until within `limit` of 0: by the inverse of their distribution, in one go."""
    share = 2 * torch.rand(rows, columns, generator=generator, device=generator.device, dtype=torch.float64) - 1
    numbers = math.sqrt(2) * torch.erfinv(share * math.erf(limit / math.sqrt(2)))
    return numbers.float().clamp(-limit, limit)


def _above_zero(limit: object) -> float:
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise ValueError(f"truncation is {limit!r}; allowed: {OPTIONS['truncation']}")
    return float(limit)


def build_model(config: BigGANConfig, signature: Signature) -> BigGAN:
    """The model with fresh weights."""
    return BigGAN(config, signature)
