"""The layers of the growing networks: their scales, what each one keeps, and what a batch tells of itself."""

from __future__ import annotations

import math

import pytest
import torch

from forgeline_architectures.adversarial.equalised import (
    EqualisedConv2d,
    EqualisedLinear,
    MinibatchDeviation,
    PixelNorm,
    doubled,
    halved,
)


def test_weights_are_normal_and_scaled_when_they_are_used() -> None:
    torch.manual_seed(0)
    dense, filters = EqualisedLinear(400, 300), EqualisedConv2d(40, 50, 3, gain=1.0)
    assert dense.weight.std().item() == pytest.approx(1, rel=0.02)
    assert filters.weight.std().item() == pytest.approx(1, rel=0.02)
    x, pictures = torch.randn(64, 400), torch.randn(8, 40, 12, 12)
    assert torch.allclose(dense(x), x @ dense.weight.T * math.sqrt(2 / 400), atol=1e-4)
    expected = torch.nn.functional.conv2d(pictures, filters.weight / math.sqrt(40 * 9), padding=1)
    assert torch.allclose(filters(pictures), expected, atol=1e-4)
    # Variances of He et al.: 2 before a rectifier, which halves it, and 1 elsewhere; less at the edge.
    assert dense(x).var().item() == pytest.approx(2, rel=0.05)
    assert filters(pictures)[..., 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.05)


def test_a_slower_layer_begins_the_same_and_moves_less() -> None:
    """Adam moves each number by the learning rate; at a hundredth of the rate the layer changes by a hundredth."""
    torch.manual_seed(0)
    x = torch.randn(16, 8)
    changes = []
    for rate in (1.0, 0.01):
        torch.manual_seed(1)
        layer = EqualisedLinear(8, 4, bias=0.5, rate=rate)
        before = layer(x).detach()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        layer(x).square().sum().backward()
        optimizer.step()
        changes.append((before, layer(x).detach() - before))
    assert torch.allclose(changes[0][0], changes[1][0], atol=1e-5)
    assert torch.allclose(changes[0][1] * 0.01, changes[1][1], rtol=1e-2, atol=1e-5)


def test_the_deviation_of_a_batch_is_a_channel_of_each_sample() -> None:
    same, apart = torch.ones(4, 3, 2, 2), torch.tensor([-2.0, 2.0])[:, None, None, None].expand(2, 3, 2, 2)
    layer = MinibatchDeviation()
    assert layer(same).shape == (4, 4, 2, 2) and layer(same)[:, 3].max() < 1e-3
    assert torch.equal(layer(apart)[:, :3], apart)
    assert layer(apart)[:, 3] == pytest.approx(torch.full((2, 2, 2), 2.0))


@pytest.mark.parametrize("shape", [(5, 16), (5, 16, 3, 3)])
def test_pixel_norm_brings_every_place_to_unit_length(shape: tuple[int, ...]) -> None:
    normed = PixelNorm()(7 * torch.randn(shape))
    assert normed.square().mean(1) == pytest.approx(torch.ones(shape[0], *shape[2:]), abs=1e-4)


def test_halving_undoes_doubling() -> None:
    pictures = torch.randn(2, 1, 4, 4)
    assert doubled(pictures).shape == (2, 1, 8, 8)
    assert torch.equal(halved(doubled(pictures)), pictures)
    assert torch.equal(doubled(pictures)[..., :2, :2], pictures[..., :1, :1].expand(2, 1, 2, 2))
