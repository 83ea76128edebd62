"""The modulated convolution of StyleGAN2, and the blocks that the generator and the discriminator are made of."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.adversarial.equalised import (
    RECTIFIED,
    SLOPE,
    EqualisedConv2d,
    EqualisedLinear,
    halved,
)

EPSILON = 1e-8


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels a style scales, and whose outputs are brought back to unit deviation.

    Equations 1 and 3 of the paper scale the weights for each sample. Scaling the channels before the convolution and
    after it is the same function (section 2.2), with one convolution for the whole batch.

    Args:
        inputs: channels that it reads.
        outputs: channels that it gives.
        kernel: side of its filters, odd.
        style: numbers of a style.
        demodulated: whether outputs are brought back.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, *, demodulated: bool = True) -> None:
        super().__init__()
        self.scales = EqualisedLinear(style, inputs, gain=1.0, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulated = demodulated

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch outputs height width"]:
        scales: Tensor = self.scales(style)
        weight = self.weight * self.scale
        x = F.conv2d(x * scales[:, :, None, None], weight, padding=weight.shape[-1] // 2)
        if not self.demodulated:
            return x
        deviation = (scales.square() @ weight.square().sum((2, 3)).T + EPSILON).sqrt()  # [batch, outputs]
        return x / deviation[:, :, None, None]


class StyledLayer(nn.Module):
    """A modulated convolution, noise for each pixel, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, style)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(
        self,
        x: Float[Tensor, "batch inputs height width"],
        style: Float[Tensor, "batch style"],
        noise: Float[Tensor, "batch 1 height width"],
    ) -> Float[Tensor, "batch outputs height width"]:
        x = self.convolution(x, style) + self.strength * noise + self.bias[:, None, None]
        return F.leaky_relu(x, SLOPE) * RECTIFIED


class ToPicture(nn.Module):
    """Channels to a picture, by a modulated convolution of 1x1 whose outputs are left as they are."""

    def __init__(self, inputs: int, channels: int, style: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, channels, 1, style, demodulated=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch channels height width"]:
        out: Tensor = self.convolution(x, style) + self.bias[:, None, None]
        return out


class ResidualBlock(nn.Module):
    """Two convolutions that halve the side, added to a straight way of one (figure 7c).

    Args:
        inputs: channels that it reads.
        outputs: channels that it gives.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            EqualisedConv2d(inputs, inputs, 3),
            nn.LeakyReLU(SLOPE),
            EqualisedConv2d(inputs, outputs, 3),
            nn.LeakyReLU(SLOPE),
        )
        self.straight = EqualisedConv2d(inputs, outputs, 1, gain=1.0)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs lower narrower"]:
        added: Tensor = halved(self.convolutions(x)) + self.straight(halved(x))
        return added / math.sqrt(2)


def smoothly_doubled(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels taller wider"]:
    """Twice the side; away from the edge this is the paper's filter [1, 3, 3, 1]."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
