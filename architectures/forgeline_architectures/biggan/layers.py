"""The layers of BigGAN: spectral normalisation, normalisation by class, self-attention, residual blocks."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear, nn.Embedding)


class SpectralNorm(nn.Module):
    """A matrix divided by its largest singular value: Miyato et al. 2018 (arXiv:1802.05957, algorithm 1).

    The value is told by one step of the power iteration for each pass in training. Unlike torch's own, only one vector
    is kept and it is brought to length 1 whenever it is used, so that averaged ones (`trainer.ema`) serve as well.
    """

    left: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("left", F.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            right = F.normalize(matrix.T @ self.left, dim=0)
            left = F.normalize(matrix @ right, dim=0)
            if self.training:
                self.left.copy_(left)
        return weight / torch.dot(left, matrix @ right)


def spectral(layer: Layer) -> Layer:
    """The layer with orthogonal first weights (Saxe et al. 2014), no bias at first, and spectral normalisation."""
    nn.init.orthogonal_(layer.weight)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer


def conv(before: int, after: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the side, with spectral normalisation."""
    return spectral(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias))


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in what a sample is told: Brock et al. 2019, section 3.1."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = spectral(nn.Linear(told, channels, bias=False))
        self.bias = spectral(nn.Linear(told, channels, bias=False))

    def forward(
        self, maps: Float[Tensor, "batch channels side side"], told: Float[Tensor, "batch told"]
    ) -> Float[Tensor, "batch channels side side"]:
        gain, bias = (layer(told)[:, :, None, None] for layer in (self.gain, self.bias))
        out: Tensor = self.norm(maps) * (1 + gain) + bias
        return out


class SelfAttention(nn.Module):
    """Each place takes from all others: Zhang et al. 2019 (arXiv:1805.08318, section 3), as BigGAN has it.

    Keys and values are of a quarter of the places. What is taken is weighed by a factor that begins at 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = conv(channels, narrow, 1, bias=False)
        self.key = conv(channels, narrow, 1, bias=False)
        self.value = conv(channels, half, 1, bias=False)
        self.out = conv(half, channels, 1, bias=False)
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch channels side side"]:
        query = self.query(maps).flatten(2).transpose(1, 2)
        key, value = (F.max_pool2d(layer(maps), 2).flatten(2).transpose(1, 2) for layer in (self.key, self.value))
        taken = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # the paper's products are not scaled
        out: Tensor = self.out(taken.transpose(1, 2).unflatten(2, maps.shape[2:]))
        return maps + self.factor * out


class UpBlock(nn.Module):
    """Doubles the side, told class and noise: Brock et al. 2019, figure 15 (b)."""

    def __init__(self, before: int, after: int, told: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalNorm(before, told), ConditionalNorm(after, told)])
        self.convs = nn.ModuleList([conv(before, after, 3), conv(after, after, 3)])
        self.skip = conv(before, after, 1)

    def forward(
        self, maps: Float[Tensor, "batch before side side"], told: Float[Tensor, "batch told"]
    ) -> Float[Tensor, "batch after double double"]:
        inner = _doubled(F.relu(self.norms[0](maps, told)))
        inner = self.convs[1](F.relu(self.norms[1](self.convs[0](inner), told)))
        # A 1x1 convolution and repeating each pixel may change places; this way round is a quarter of the work.
        out: Tensor = inner + _doubled(self.skip(maps))
        return out


class DownBlock(nn.Module):
    """Halves the side where `halve` says so: Brock et al. 2019, figure 15 (c).

    Args:
        before: channels that come in.
        after: channels that go out.
        halve: whether 2x2 places become one.
        first: whether pictures come in, which no activation may cut.
    """

    def __init__(self, before: int, after: int, *, halve: bool = True, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.convs = nn.ModuleList([conv(before, after, 3), conv(after, after, 3)])
        self.skip = conv(before, after, 1) if halve or before != after else nn.Identity()

    def forward(self, maps: Float[Tensor, "batch before side side"]) -> Float[Tensor, "batch after smaller smaller"]:
        inner = self.convs[1](F.relu(self.convs[0](maps if self.first else F.relu(maps))))
        if not self.halve:
            unhalved: Tensor = inner + self.skip(maps)
            return unhalved
        # Means and a 1x1 convolution may change places, as above.
        out: Tensor = F.avg_pool2d(inner, 2) + self.skip(F.avg_pool2d(maps, 2))
        return out


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")
