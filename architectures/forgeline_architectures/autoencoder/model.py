"""An autoencoder of pictures.

- The code has no activation, so that without hidden layers the model spans what principal components span; a sparse
  code goes through a sigmoid, which makes an activity from 0 to 1 of it.
- Convolutions have 3x3 kernels; the encoder's step by 2, the decoder's follow a doubling of each pixel, which leaves no
  checkerboard (Odena, Dumoulin & Olah 2016).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.autoencoder.config import AutoencoderConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.reconstruction import squared_errors


class Autoencoder(nn.Module):
    """Encoder and decoder. `forward` takes `image` from -1 to 1 and gives the picture back in the same range."""

    def __init__(self, config: AutoencoderConfig, signature: Signature) -> None:
        super().__init__()
        layers = _dense if config.backbone == "dense" else _convolutional
        encoder, decoder = layers(config, signature.outputs)
        self.encoder = nn.Sequential(*encoder, *([nn.Sigmoid()] if config.sparsity is not None else []))
        self.decoder = nn.Sequential(*decoder)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height width"]:
        """The reconstruction of each picture."""
        return self.decode(self.encode(batch["image"]))

    def errors(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch 2"]:
        """Mean squared error of each reconstruction, and of what was shown."""
        return squared_errors(self(batch), batch)

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch latent"]:
        """The code of each picture, as an embedding."""
        return self.encode(batch["image"])

    def encode(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch latent"]:
        """The code of each picture."""
        # Between 0 and 1, where most pixels are 0: from -1 to 1 they would all speak at once.
        code: Tensor = self.encoder((image + 1) / 2)
        return code

    def decode(self, code: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        """The picture that a code stands for."""
        made: Tensor = 2 * self.decoder(code).sigmoid() - 1
        return made


def _dense(config: AutoencoderConfig, shape: tuple[int, ...]) -> tuple[list[nn.Module], list[nn.Module]]:
    widths = (math.prod(shape), *config.hidden)
    inwards = (config.latent, *reversed(config.hidden))
    return (
        [nn.Flatten(), *_linear(widths), nn.Linear(widths[-1], config.latent)],
        [*_linear(inwards), nn.Linear(inwards[-1], widths[0]), nn.Unflatten(1, shape)],
    )


def _linear(widths: tuple[int, ...]) -> Iterator[nn.Module]:
    for before, after in pairwise(widths):
        yield nn.Linear(before, after)
        yield nn.ReLU()


def _convolutional(config: AutoencoderConfig, shape: tuple[int, ...]) -> tuple[list[nn.Module], list[nn.Module]]:
    channels, height, width = shape
    widths, halvings = (channels, *config.hidden), len(config.hidden)
    smallest = (widths[-1], height >> halvings, width >> halvings)
    encoder: list[nn.Module] = []
    for before, after in pairwise(widths):
        encoder += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    decoder: list[nn.Module] = [nn.Linear(config.latent, math.prod(smallest)), nn.Unflatten(1, smallest)]
    for before, after in pairwise(reversed(widths)):
        decoder += [nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
    return [*encoder, nn.Flatten(), nn.Linear(math.prod(smallest), config.latent)], decoder


def build_model(config: AutoencoderConfig, signature: Signature) -> Autoencoder:
    """The model with fresh weights."""
    return Autoencoder(config, signature)
