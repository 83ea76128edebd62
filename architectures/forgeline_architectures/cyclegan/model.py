"""Two generators and two discriminators, one of each for each domain.

- `generator[d]` translates into domain d; `discriminator[d]` tells pictures of domain d from translations into it.
- A batch mixes both directions: its rows are sorted by the domain, each group goes through its own network, and the
  answers are put back in order.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from forgeline_architectures.cyclegan.config import CycleGANConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options

DOMAINS = 2
# Zhu et al. 2017, appendix 7.1: weights from a Gaussian of mean 0 and deviation 0.02.
INITIAL_DEVIATION = 0.02
MOST_GROWTH = 8


class CycleGAN(nn.Module):
    """The networks; pictures are within -1 and 1."""

    def __init__(self, config: CycleGANConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.learnt = signature.learnt
        channels = signature.outputs[0]
        self.generator = nn.ModuleList(_generator(config, channels) for _ in range(DOMAINS))
        self.discriminator = nn.ModuleList(_discriminator(config, channels) for _ in range(DOMAINS))
        self.apply(_initialise)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        """How much the batch's own pictures look like their domain, meant over their patches."""
        return self.scores(batch[self.learnt], batch["label"]).flatten(1).mean(1)

    def translated(
        self, pictures: Float[Tensor, "batch channels height width"], domain: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Pictures, each into its domain."""
        return _by_domain(self.generator, pictures, domain)

    def scores(
        self, pictures: Float[Tensor, "batch channels height width"], domain: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """How much each patch of pictures looks like their domain: 1 where it does, 0 where it was made."""
        return _by_domain(self.discriminator, pictures, domain)

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """The translation of each `source` into the domain `label`; nothing is random, and there are no options.

        Raises:
            ValueError: an option is given.
        """
        check_options(options, {})
        return self.translated(condition["source"], condition["label"])


def _by_domain(networks: nn.ModuleList, pictures: Tensor, domain: Int[Tensor, " batch"]) -> Tensor:
    order = domain.argsort(stable=True)
    groups = pictures[order].split(domain.bincount(minlength=DOMAINS).tolist())
    # Convolutions take no group without pictures.
    answers = [network(group) for network, group in zip(networks, groups, strict=True) if len(group)]
    return torch.cat(answers)[order.argsort()]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose answer is added to the input."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolved(filters, filters), nn.ReLU(), *_convolved(filters, filters))

    def forward(self, maps: Float[Tensor, "batch filters height width"]) -> Float[Tensor, "batch filters height width"]:
        out: Tensor = maps + self.layers(maps)
        return out


def _convolved(filters: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(filters, out, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(out)]


def _generator(config: CycleGANConfig, channels: int) -> nn.Sequential:
    """Johnson et al. 2016 (arXiv:1603.08155) with instance norms: c7s1-64, d128, d256, 9 x R256, u128, u64, c7s1-3."""
    filters = config.filters
    layers: list[nn.Module] = [
        nn.Conv2d(channels, filters, 7, padding=3, padding_mode="reflect"),
        nn.InstanceNorm2d(filters),
        nn.ReLU(),
    ]
    for _ in range(config.halvings):
        layers += [nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * filters), nn.ReLU()]
        filters *= 2
    layers += [ResidualBlock(filters) for _ in range(config.blocks)]
    for _ in range(config.halvings):
        layers += [
            nn.ConvTranspose2d(filters, filters // 2, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm2d(filters // 2),
            nn.ReLU(),
        ]
        filters //= 2
    return nn.Sequential(*layers, nn.Conv2d(filters, channels, 7, padding=3, padding_mode="reflect"), nn.Tanh())


def _discriminator(config: CycleGANConfig, channels: int) -> nn.Sequential:
    """PatchGAN of Isola et al. 2017 (arXiv:1611.07004): C64 without a norm, C128, C256, C512, and a number a patch."""
    first = config.discriminator_filters
    layers: list[nn.Module] = [nn.Conv2d(channels, first, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    filters = first
    for layer in range(1, config.discriminator_halvings + 1):
        out = first * min(2**layer, MOST_GROWTH)
        stride = 2 if layer < config.discriminator_halvings else 1
        layers += [nn.Conv2d(filters, out, 4, stride=stride, padding=1), nn.InstanceNorm2d(out), nn.LeakyReLU(0.2)]
        filters = out
    return nn.Sequential(*layers, nn.Conv2d(filters, 1, 4, padding=1))


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=INITIAL_DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build_model(config: CycleGANConfig, signature: Signature) -> CycleGAN:
    """The model with fresh weights."""
    return CycleGAN(config, signature)
