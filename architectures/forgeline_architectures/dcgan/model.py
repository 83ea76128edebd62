"""Generator and discriminator of DCGAN: strided convolutions alone, batch normalisation, no dense layer inside.

As in the authors' code (github.com/soumith/dcgan.torch), convolutions are 4x4 where the paper has 5x5 (a multiple of
the stride covers every pixel evenly), and the noise is normal where the paper's is uniform. Biases are only where no
batch normalisation follows.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.dcgan.config import DCGANConfig
from forgeline_architectures.signature import Signature

KERNEL, STRIDE, PADDING = 4, 2, 1
SLOPE = 0.2  # of the leaky ReLU: Radford et al. 2016, section 4
DEVIATION = 0.02  # of the first weights: the same


class DCGAN(AdversarialPair):
    """The two networks; pictures are from -1 to 1."""

    def __init__(self, config: DCGANConfig, signature: Signature) -> None:
        super().__init__(config.latent, signature)
        channels, height, width = signature.outputs
        factor = 2 ** len(config.widths)
        coarsest = (height // factor, width // factor)
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(config.latent, config.widths[0], coarsest, bias=False),
            *_normalised(config.widths[0], nn.ReLU()),
            *(layer for pair in pairwise(config.widths) for layer in _doubling(*pair)),
            nn.ConvTranspose2d(config.widths[-1], channels, KERNEL, STRIDE, PADDING),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(channels, config.widths[-1], KERNEL, STRIDE, PADDING),
            nn.LeakyReLU(SLOPE),
            *(layer for pair in pairwise(reversed(config.widths)) for layer in _halving(*pair)),
            nn.Conv2d(config.widths[0], 1, coarsest),
        )
        self.apply(_initialise)

    def made(
        self, noise: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channels height width"]:
        pictures: Tensor = self.generator(noise[:, :, None, None])
        return pictures

    def logits(
        self, samples: Float[Tensor, "batch channels height width"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        odds: Tensor = self.discriminator(samples)
        return odds.flatten()


def _doubling(before: int, after: int) -> tuple[nn.Module, ...]:
    layer = nn.ConvTranspose2d(before, after, KERNEL, STRIDE, PADDING, bias=False)
    return (layer, *_normalised(after, nn.ReLU()))


def _halving(before: int, after: int) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(before, after, KERNEL, STRIDE, PADDING, bias=False)
    return (layer, *_normalised(after, nn.LeakyReLU(SLOPE)))


def _normalised(channels: int, activation: nn.Module) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), activation


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, DEVIATION)


def build_model(config: DCGANConfig, signature: Signature) -> DCGAN:
    """The model with fresh weights."""
    return DCGAN(config, signature)
