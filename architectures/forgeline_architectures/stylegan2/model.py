"""StyleGAN2 (Karras et al. 2020): mapping network, styled generator with skips, residual discriminator.

- A style is [style] numbers for each of the generator's layers. They are usually the same for all layers; where two
  styles are mixed, the coarse layers follow one and the fine ones the other.
- The generator's noise is an argument, so that a sample depends on nothing but what it is given.
- Departures: the discriminator halves by the mean of 2x2 pixels instead of a filter of 4x4, and the batch is compared
  as a whole instead of in groups of 4.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.adversarial.equalised import (
    SLOPE,
    EqualisedConv2d,
    EqualisedLinear,
    MinibatchDeviation,
    PixelNorm,
)
from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.adversarial.resolutions import FIRST_SIDE
from forgeline_architectures.signature import Signature
from forgeline_architectures.stylegan2.config import StyleGAN2Config
from forgeline_architectures.stylegan2.layers import ResidualBlock, StyledLayer, ToPicture, smoothly_doubled
from forgeline_architectures.tasks.generation import check_options

KEPT = 0.995  # of the mean style, per step
ROWS, COLUMNS = 4, 6  # of the picture of mixed styles


class StyleGAN2(AdversarialPair):
    """The pair.

    Attributes:
        mean_style: [style] a running mean of the styles, towards which samples can be truncated.
    """

    generator: StyledGenerator
    mean_style: Tensor

    def __init__(self, config: StyleGAN2Config, signature: Signature) -> None:
        super().__init__(config.latent, signature)
        self.config = config
        self.generator = StyledGenerator(config, self.shape[0])
        self.discriminator = ResidualDiscriminator(config.widths, self.shape[0])
        self.register_buffer("mean_style", torch.zeros(config.style))

    def made(
        self,
        noise: Float[Tensor, "batch latent"],
        condition: Mapping[str, Tensor],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        return self.styled(self.everywhere(self.generator.mapping(noise)), generator)

    def styled(
        self, styles: Float[Tensor, "batch layers style"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Pictures of styles, with noise from a generator; torch's own when None."""
        out: Tensor = self.generator(styles, self.generator.noises(styles, generator))
        return out

    def everywhere(self, style: Float[Tensor, "batch style"]) -> Float[Tensor, "batch layers style"]:
        """A style for all layers."""
        return style[:, None].expand(-1, self.generator.layers, -1)

    def mixed(
        self, coarse: Float[Tensor, "batch style"], fine: Float[Tensor, "batch style"], first: Tensor
    ) -> Float[Tensor, "batch layers style"]:
        """Two styles in one: `first` [batch] layers follow the coarse one, those after them the fine one."""
        follows = torch.arange(self.generator.layers, device=coarse.device) < first[:, None]  # [batch, layers]
        return torch.where(follows[:, :, None], coarse[:, None], fine[:, None])

    def logits(
        self, samples: Float[Tensor, "batch channels height width"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        out: Tensor = self.discriminator(samples)
        return out

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Samples of noise.

        Args:
            count: how many.
            condition: there is none.
            generator: random numbers, on the model's device.
            options: `truncation`, how far styles may be from their mean: below 1 more usual pictures, fewer kinds.

        Raises:
            ValueError: an option is unknown, or the truncation is not within 0 and 1.
        """
        check_options(options, {"truncation": "a number from 0 to 1; 1 is none"})
        truncation = options.get("truncation", 1.0)
        if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not 0 <= truncation <= 1:
            raise ValueError(f"truncation is {truncation!r}; allowed: a number from 0 to 1")
        style = self.generator.mapping(self.noise(count, device=generator.device, generator=generator))
        style = torch.lerp(self.mean_style, style, float(truncation))
        return self.styled(self.everywhere(style), generator).clamp(-1, 1)

    def illustrations(self, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Mixed styles: the coarse layers of the first column with the fine ones of the first row."""
        noise = self.noise(ROWS + COLUMNS, device=generator.device, generator=generator)
        coarse, fine = self.generator.mapping(noise).split([ROWS, COLUMNS])
        half = torch.tensor(self.generator.layers // 2, device=generator.device)
        pairs = (coarse.repeat_interleave(COLUMNS, 0), fine.repeat(ROWS, 1))
        mixed = self.styled(self.mixed(*pairs, half.expand(ROWS * COLUMNS)), generator).unflatten(0, (ROWS, COLUMNS))
        above = self.styled(self.everywhere(fine), generator)[None]
        beside = self.styled(self.everywhere(coarse), generator)[:, None]
        corner = torch.full_like(above[:, :1], -1.0)
        grid = torch.cat([torch.cat([corner, above], 1), torch.cat([beside, mixed], 1)])
        return {"style-mixing": grid.clamp(-1, 1)}


class StyledGenerator(nn.Module):
    """A constant, made into pictures under styles; each resolution adds its own picture to the last (figure 7b).

    Attributes:
        layers: styles that it takes: one for each convolution, and one for the last picture. The picture of a
            resolution below the last is made under the style of the convolution that follows.
    """

    def __init__(self, config: StyleGAN2Config, channels: int) -> None:
        super().__init__()
        widths, style = config.widths, config.style
        inputs = [config.latent, *[style] * (config.mapping_layers - 1)]
        self.mapping = nn.Sequential(
            PixelNorm(),
            *(
                nn.Sequential(EqualisedLinear(units, style, rate=config.mapping_rate), nn.LeakyReLU(SLOPE))
                for units in inputs
            ),
        )
        self.constant = nn.Parameter(torch.randn(1, widths[0], FIRST_SIDE, FIRST_SIDE))
        # One convolution at 4x4 pixels and two at every further resolution, the first of which doubles the side.
        turns = [width for width in widths for _ in range(2)]
        self.convolutions = nn.ModuleList(StyledLayer(before, after, style) for before, after in pairwise(turns))
        self.to_picture = nn.ModuleList(ToPicture(width, channels, style) for width in widths)
        self.layers = 2 * len(widths)

    def noises(
        self, styles: Float[Tensor, "batch layers style"], generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Noise [batch, 1, side, side] for each convolution."""
        sides = [FIRST_SIDE << (convolution + 1) // 2 for convolution in range(self.layers - 1)]
        return [
            torch.randn(len(styles), 1, side, side, generator=generator, device=styles.device, dtype=styles.dtype)
            for side in sides
        ]

    def forward(
        self, styles: Float[Tensor, "batch layers style"], noises: Sequence[Tensor]
    ) -> Float[Tensor, "batch channels height width"]:
        """Pictures of a style for each layer, and noise for each convolution."""
        x = self.constant.repeat(len(styles), 1, 1, 1)
        picture: Tensor | None = None
        for at, convolution in enumerate(self.convolutions):
            if at % 2:
                x = smoothly_doubled(x)
            x = convolution(x, styles[:, at], noises[at])
            if at % 2 == 0:
                added = self.to_picture[at // 2](x, styles[:, at + 1])
                picture = added if picture is None else smoothly_doubled(picture) + added
        assert picture is not None
        return picture


class ResidualDiscriminator(nn.Module):
    """Pictures to scores, with a look at the whole batch in the end.

    Args:
        widths: channels at each resolution, from 4x4 pixels.
        channels: of a picture.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.layers = nn.Sequential(
            EqualisedConv2d(channels, last, 1),
            nn.LeakyReLU(SLOPE),
            *(ResidualBlock(before, after) for before, after in pairwise(reversed(widths))),
            MinibatchDeviation(),
            EqualisedConv2d(first + 1, first, 3),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            EqualisedLinear(first * FIRST_SIDE**2, first),
            nn.LeakyReLU(SLOPE),
            EqualisedLinear(first, 1, gain=1.0),
        )

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        scores: Tensor = self.layers(pictures)
        return scores.squeeze(1)


def build_model(config: StyleGAN2Config, signature: Signature) -> StyleGAN2:
    """The model with fresh weights."""
    return StyleGAN2(config, signature)
