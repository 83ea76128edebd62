"""Generator and discriminator that grow, layer by layer, from 4x4 pixels to the size of the pictures.

- All layers exist from the start; those of later stages are neither used nor moved before their time.
- `step` is a buffer, so that a checkpoint or a bundle knows how far its networks have grown.
- While layers fade in, what they make is mixed with the stage before, doubled, and so are the data (appendix A).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.adversarial.equalised import (
    SLOPE,
    EqualisedConv2d,
    EqualisedLinear,
    MinibatchDeviation,
    PixelNorm,
    doubled,
    halved,
)
from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.adversarial.resolutions import FIRST_SIDE
from forgeline_architectures.progressive_gan.config import Growth, ProgressiveGANConfig
from forgeline_architectures.signature import Signature


class ProgressiveGAN(AdversarialPair):
    """The pair. Of samples, `made` and `logits` take those of the current resolution, `sample` the data's.

    Attributes:
        step: of training; how far the networks have grown follows from it.
    """

    step: Tensor

    def __init__(self, config: ProgressiveGANConfig, signature: Signature) -> None:
        super().__init__(config.latent, signature)
        self.config = config
        channels = self.shape[0]
        self.generator = GrowingGenerator(config.latent, config.widths, channels)
        self.discriminator = GrowingDiscriminator(config.widths, channels)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def growth(self) -> Growth:
        """How far the networks have grown."""
        return self.config.growth(int(self.step))

    @property
    def side(self) -> int:
        """Pixels along a side of what is made now."""
        return FIRST_SIDE << self.growth.stage

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        """What the discriminator says of the batch's own samples, at the current resolution."""
        return self.logits(self.shrunk(batch[self.learnt]), batch)

    def made(
        self, noise: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channels side side"]:
        out: Tensor = self.generator(noise, *self._grown(noise))
        return out

    def logits(
        self, samples: Float[Tensor, "batch channels side side"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        out: Tensor = self.discriminator(samples, *self._grown(samples))
        return out

    def shrunk(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels ..."]:
        """Data at the current resolution, mixed with the one before in the share that the samples are."""
        while pictures.shape[-1] > self.side:
            pictures = halved(pictures)
        share = self.growth.share
        return pictures if share == 1 else torch.lerp(doubled(halved(pictures)), pictures, share)

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Samples of the current resolution, each pixel as a square of the data's; there are no options.

        Raises:
            ValueError: an option is given.
        """
        made = super().sample(count, condition, generator=generator, options=options)
        return F.interpolate(made, size=self.shape[1:], mode="nearest").clamp(-1, 1)

    def _grown(self, like: Tensor) -> tuple[int, Tensor | None]:
        """Stage and, while its layers fade in, their share: a tensor, for a number would be compiled anew each step."""
        stage, share = self.growth
        return stage, None if share == 1 else torch.tensor(share, dtype=like.dtype, device=like.device)


class GrowingGenerator(nn.Module):
    """Noise to pictures: two convolutions at each resolution, every one brought to unit length (table 2).

    Args:
        latent: numbers of the noise.
        widths: channels at each resolution, from 4x4 pixels.
        channels: of a picture.
    """

    def __init__(self, latent: int, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        first = widths[0]
        self.start = nn.Sequential(
            PixelNorm(),
            EqualisedLinear(latent, first * FIRST_SIDE**2),
            nn.Unflatten(1, (first, FIRST_SIDE, FIRST_SIDE)),
            nn.LeakyReLU(SLOPE),
            PixelNorm(),
            *_normed(first, first),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_normed(before, after), *_normed(after, after)) for before, after in pairwise(widths)
        )
        self.to_picture = nn.ModuleList(EqualisedConv2d(width, channels, 1, gain=1.0) for width in widths)

    def forward(
        self, noise: Float[Tensor, "batch latent"], stage: int, share: Float[Tensor, ""] | None = None
    ) -> Float[Tensor, "batch channels side side"]:
        """Pictures of a stage; its newest layers have a share in them, all of it when None."""
        x = self.start(noise)
        before = x
        for block in self.blocks[:stage]:
            before, x = x, block(doubled(x))
        made: Tensor = self.to_picture[stage](x)
        if share is None:
            return made
        return torch.lerp(doubled(self.to_picture[stage - 1](before)), made, share)


class GrowingDiscriminator(nn.Module):
    """Pictures to scores: the generator mirrored, with a look at the whole batch in the end (table 2).

    Args:
        widths: channels at each resolution, from 4x4 pixels.
        channels: of a picture.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        first = widths[0]
        self.from_picture = nn.ModuleList(
            nn.Sequential(EqualisedConv2d(channels, width, 1), nn.LeakyReLU(SLOPE)) for width in widths
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_rectified(after, after), *_rectified(after, before)) for before, after in pairwise(widths)
        )
        self.end = nn.Sequential(
            MinibatchDeviation(),
            *_rectified(first + 1, first),
            nn.Flatten(),
            EqualisedLinear(first * FIRST_SIDE**2, first),
            nn.LeakyReLU(SLOPE),
            EqualisedLinear(first, 1, gain=1.0),
        )

    def forward(
        self, pictures: Float[Tensor, "batch channels side side"], stage: int, share: Float[Tensor, ""] | None = None
    ) -> Float[Tensor, " batch"]:
        """Scores of pictures of a stage; its newest layers have a share in them, all of it when None."""
        x = self.from_picture[stage](pictures)
        for level in range(stage, 0, -1):
            x = halved(self.blocks[level - 1](x))
            if share is not None and level == stage:
                x = torch.lerp(self.from_picture[stage - 1](halved(pictures)), x, share)
        scores: Tensor = self.end(x)
        return scores.squeeze(1)


def _rectified(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualisedConv2d(inputs, outputs, 3), nn.LeakyReLU(SLOPE)]


def _normed(inputs: int, outputs: int) -> list[nn.Module]:
    return [*_rectified(inputs, outputs), PixelNorm()]


def build_model(config: ProgressiveGANConfig, signature: Signature) -> ProgressiveGAN:
    """The model with fresh weights, at its first stage."""
    return ProgressiveGAN(config, signature)
