"""Generator and discriminator of fully connected layers; a label joins their inputs as a one-hot vector.

The conditional form is Mirza & Osindero 2014 (arXiv:1411.1784). Departures from Goodfellow et al.: leaky ReLU in the
place of maxout in the discriminator, and no dropout.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.gan.config import GANConfig
from forgeline_architectures.signature import Signature


class GAN(AdversarialPair):
    """Two networks: one makes samples of noise, one tells them from data."""

    def __init__(self, config: GANConfig, signature: Signature) -> None:
        super().__init__(config.latent, signature)
        self.config = config
        self.labels = signature.conditions.get("label", 0)
        size = math.prod(self.shape)
        # Pictures are within -1 and 1; points are anywhere.
        last: list[nn.Module] = [nn.Tanh()] if self.learnt == "image" else []
        self.generator = nn.Sequential(*_layers(config.latent + self.labels, config.hidden, size, nn.ReLU()), *last)
        self.discriminator = nn.Sequential(*_layers(size + self.labels, config.hidden, 1, nn.LeakyReLU(0.2)))

    def made(self, noise: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.generator(self._told(noise, condition))
        return out.reshape(len(out), *self.shape)

    def logits(self, samples: Tensor, condition: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        out: Tensor = self.discriminator(self._told(samples.flatten(1), condition))
        return out.squeeze(1)

    def _told(self, rows: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        if not self.labels:
            return rows
        return torch.cat([rows, F.one_hot(condition["label"], self.labels).to(rows.dtype)], dim=1)


def _layers(units: int, hidden: tuple[int, ...], last: int, activation: nn.Module) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(units, width), activation]
        units = width
    return [*layers, nn.Linear(units, last)]


def build_model(config: GANConfig, signature: Signature) -> GAN:
    """The model with fresh weights."""
    return GAN(config, signature)
