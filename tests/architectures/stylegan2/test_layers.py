"""The modulated convolution against the weights that the paper writes down, and the ways of a residual block."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from forgeline_architectures.stylegan2.layers import ModulatedConv2d, ResidualBlock, StyledLayer, smoothly_doubled


@pytest.mark.parametrize("demodulated", [True, False])
def test_each_sample_has_the_weights_of_its_style(demodulated: bool) -> None:
    """Equations 1 and 3, sample by sample: w' = s w, w'' = w' / sqrt(sum w'^2 + epsilon)."""
    torch.manual_seed(0)
    layer = ModulatedConv2d(3, 5, 3, 4, demodulated=demodulated)
    x, style = torch.randn(2, 3, 6, 6), torch.randn(2, 4)
    out = layer(x, style)
    for sample in range(2):
        scales = style[sample] @ layer.scales.weight.T / math.sqrt(4) + 1  # biases start at 1
        weights = layer.weight / math.sqrt(3 * 9) * scales[None, :, None, None]
        if demodulated:
            weights = weights / (weights.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(out[sample], F.conv2d(x[sample], weights, padding=1), atol=1e-5)


def test_demodulated_outputs_do_not_grow_with_the_style() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(32, 32, 3, 4)
    with torch.no_grad():
        out = layer(torch.randn(8, 32, 16, 16), 100 * torch.randn(8, 4))
    assert out[..., 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.1)


def test_noise_counts_by_its_strength_which_starts_at_none() -> None:
    torch.manual_seed(0)
    layer = StyledLayer(3, 4, 2)
    x, style, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 2), torch.randn(2, 1, 4, 4)
    assert torch.equal(layer(x, style, noise), layer(x, style, -noise))
    with torch.no_grad():
        layer.strength.fill_(0.5)
    before = layer.convolution(x, style) + 0.5 * noise
    assert torch.allclose(layer(x, style, noise), math.sqrt(2) * F.leaky_relu(before, 0.2), atol=1e-6)


def test_a_residual_block_adds_two_ways_of_equal_weight() -> None:
    block = ResidualBlock(3, 3)
    with torch.no_grad():
        block.convolutions[2].weight.zero_()
        block.straight.weight.copy_(torch.eye(3)[:, :, None, None] * math.sqrt(3))  # scaled by 1 / sqrt(3)
    x = torch.randn(2, 3, 4, 4)
    assert torch.allclose(block(x), F.avg_pool2d(x, 2) / math.sqrt(2), atol=1e-6)


def test_doubling_is_the_papers_filter_away_from_the_edge() -> None:
    """[1, 3, 3, 1] / 4 each way over zeros between the pixels."""
    x = torch.randn(1, 1, 6, 6)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    spread = F.conv_transpose2d(x, (taps[:, None] * taps)[None, None], stride=2, padding=1)
    assert torch.allclose(smoothly_doubled(x)[..., 1:-1, 1:-1], spread[..., 1:-1, 1:-1], atol=1e-6)
