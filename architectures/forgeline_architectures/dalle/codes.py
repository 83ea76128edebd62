"""The discrete autoencoder: pictures as grids of tokens, in the layout of the authors' published code.

A pixel of brightness x from -1 to 1 is taken to s = 0.1 + 0.8 (x + 1) / 2, and logit(s) to be Laplace-distributed
(Ramesh et al. 2021, appendix A.3), or normally: the decoder gives the mean and the logarithm of the scale of each.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.dalle.config import BOTTLENECK

EDGE = 0.1  # how far s stays from 0 and 1: appendix A.3


class Relaxed(NamedTuple):
    """The parts of the relaxed bound of each picture, [batch], in nats over all of its numbers.

    Attributes:
        reconstruction: negative log-density of logit(s), which is that of s but for a constant of the data.
        kl: of the codes from equally likely ones, summed over the grid.
    """

    reconstruction: Tensor
    kl: Tensor


class Block(nn.Module):
    """Three 3x3 convolutions and a 1x1 one, narrower inside, beside a residual path."""

    def __init__(self, before: int, after: int, gain: float) -> None:
        super().__init__()
        inner = after // BOTTLENECK
        self.gain = gain  # 1 / blocks^2: the authors' code
        self.residual = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.path = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(before, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, after, 1),
        )

    def forward(self, x: Float[Tensor, "batch before side side"]) -> Float[Tensor, "batch after side side"]:
        out: Tensor = self.residual(x) + self.gain * self.path(x)
        return out


class Codes(nn.Module):
    """Encoder and decoder.

    Args:
        channels: of a picture.
        codes: tokens of the vocabulary.
        widths: channels at each resolution, from the picture's on.
        blocks: at each resolution.
        likelihood: of logit(s), `laplace` or `normal`.
        smallest_scale: of the likelihood, which a scale of 0 would make infinite for a flat picture.
    """

    def __init__(
        self, channels: int, codes: int, widths: Sequence[int], blocks: int, *, likelihood: str, smallest_scale: float
    ) -> None:
        super().__init__()
        self.negative_log_density = DENSITIES[likelihood]
        self.codes = codes
        self.smallest_log_scale = math.log(smallest_scale)
        gain = 1 / (len(widths) * blocks) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, widths[0], 7, padding=3),
            *_groups(widths[0], widths, blocks, gain, between=nn.MaxPool2d(2)),
            nn.ReLU(),
            nn.Conv2d(widths[-1], codes, 1),
        )
        first = widths[-1] // BOTTLENECK
        self.decoder = nn.Sequential(
            nn.Conv2d(codes, first, 1),
            *_groups(first, widths[::-1], blocks, gain, between=nn.Upsample(scale_factor=2, mode="nearest")),
            nn.ReLU(),
            nn.Conv2d(widths[0], 2 * channels, 1),
        )
        nn.init.normal_(self.decoder[0].weight)  # type: ignore[arg-type]  # a table of codes, of which one is read

    def relaxed(
        self,
        image: Float[Tensor, "batch channels height width"],
        temperature: float,
        generator: torch.Generator | None = None,
    ) -> Relaxed:
        """The bound with one draw of relaxed codes (Jang et al. 2017, arXiv:1611.01144, eq. 2).

        Args:
            image: pictures from -1 to 1.
            temperature: 0 takes the likeliest code alone, without a draw and without a gradient to the encoder.
            generator: random numbers; torch's own when None.
        """
        logits = self.encoder(image).float()
        log_probabilities = logits.log_softmax(1)
        kl = (log_probabilities.exp() * (log_probabilities + math.log(self.codes))).flatten(1).sum(1)
        if temperature == 0:
            chosen = F.one_hot(logits.argmax(1), self.codes).movedim(-1, 1).to(logits.dtype)
        else:
            uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
            gumbel = -(-uniform.clamp(min=torch.finfo(torch.float32).tiny).log()).log()
            chosen = ((logits + gumbel) / temperature).softmax(1)
        mean, log_scale = self.decoder(chosen.to(image.dtype)).float().chunk(2, dim=1)
        log_scale = log_scale.clamp(min=self.smallest_log_scale)
        reconstruction = self.negative_log_density((_spread(image) - mean) * (-log_scale).exp()) + log_scale
        return Relaxed(reconstruction.flatten(1).sum(1), kl)

    def tokens(self, image: Float[Tensor, "batch channels height width"]) -> Int[Tensor, "batch tokens"]:
        """The likeliest code of each place, row by row."""
        out: Tensor = self.encoder(image).argmax(1).flatten(1)
        return out

    def pictures(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels height width"]:
        """The pictures that tokens stand for, from -1 to 1."""
        side = math.isqrt(tokens.shape[1])
        dtype = next(self.decoder.parameters()).dtype
        chosen = F.one_hot(tokens.unflatten(1, (side, side)), self.codes).movedim(-1, 1).to(dtype)
        mean, _ = self.decoder(chosen).chunk(2, dim=1)
        made: Tensor = (2 * (mean.sigmoid() - EDGE) / (1 - 2 * EDGE) - 1).clamp(-1, 1)
        return made


def laplace(gap: Tensor) -> Tensor:
    """Negative logarithm of Laplace's density of scale 1 (appendix A.3, equation 2)."""
    return gap.abs() + math.log(2)


def normal(gap: Tensor) -> Tensor:
    """Negative logarithm of the normal density of deviation 1."""
    return (gap.square() + math.log(2 * math.pi)) / 2


DENSITIES: Mapping[str, Callable[[Tensor], Tensor]] = {"laplace": laplace, "normal": normal}


def _spread(image: Tensor) -> Tensor:
    """logit(s) of pixels from -1 to 1."""
    return (EDGE + (1 - 2 * EDGE) * (image.float() + 1) / 2).logit()


def _groups(before: int, widths: Sequence[int], blocks: int, gain: float, *, between: nn.Module) -> Iterator[nn.Module]:
    """Blocks of every resolution, with what changes it between them."""
    for level, width in enumerate(widths):
        if level:
            yield between
        for _ in range(blocks):
            yield Block(before, width, gain)
            before = width
