"""Layers of Karras et al. 2018 (arXiv:1710.10196), which their later networks are made of as well.

- Weights are drawn from N(0, 1) and scaled by He's constant whenever they are used, not once: Adam, whose steps do not
  depend on the gradient's scale, then moves every layer equally fast (section 4.1).
- Weight decay would work against that; specs set it to 0.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of leaky ReLU, everywhere in these networks
RECTIFIED = math.sqrt(2)  # gain before a rectifier (He et al. 2015, arXiv:1502.01852)


class EqualisedLinear(nn.Module):
    """A dense layer.

    Args:
        inputs: numbers that it reads.
        outputs: numbers that it gives.
        gain: of the scale; 1 where no rectifier follows.
        bias: what the biases start at.
        rate: factor on the learning rate of weights and biases, which start as much larger.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = RECTIFIED, bias: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale = gain * rate / math.sqrt(inputs)
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualisedConv2d(nn.Module):
    """A convolution of stride 1 that keeps the size of its pictures.

    Args:
        inputs: channels that it reads.
        outputs: channels that it gives.
        kernel: side of its filters, odd.
        gain: of the scale; 1 where no rectifier follows.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = RECTIFIED) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.padding = kernel // 2

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs height width"]:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class MinibatchDeviation(nn.Module):
    """One more channel that tells how much the samples of the batch differ, so that a generator must vary (section 3).

    It is the deviation over the batch of each channel and place, averaged over both.
    """

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more height width"]:
        deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean()
        return torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], dim=1)


class PixelNorm(nn.Module):
    """The channels of each place, or the numbers of each sample, brought to a mean square of 1 (section 4.2)."""

    def forward(self, x: Float[Tensor, "batch channels *place"]) -> Float[Tensor, "batch channels *place"]:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def doubled(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels taller wider"]:
    """Every pixel as 2x2 of them."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def halved(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels lower narrower"]:
    """Every 2x2 pixels as their mean."""
    return F.avg_pool2d(x, 2)
