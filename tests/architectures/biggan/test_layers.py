"""Spectral normalisation against the singular values themselves, attention against its formula, blocks, norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from forgeline_architectures.biggan.layers import ConditionalNorm, DownBlock, SelfAttention, UpBlock, conv, spectral


def largest(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.flatten(1), ord=2))


def test_the_largest_singular_value_becomes_one() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Conv2d(3, 5, 3))
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(4 * torch.randn(5, 3, 3, 3))  # type: ignore[operator, union-attr]
        for _ in range(50):
            _ = layer.weight
        assert largest(layer.weight) == pytest.approx(1, abs=1e-4)
        # What is kept may be an average of several passes, which is no longer of length 1.
        layer.parametrizations.weight[0].left.mul_(0.3)  # type: ignore[operator, index, union-attr]
        assert largest(layer.eval().weight) == pytest.approx(1, abs=1e-4)


def test_only_training_moves_what_is_kept() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Linear(6, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()  # type: ignore[operator, union-attr]
    kept = layer.parametrizations.weight[0].left  # type: ignore[index, union-attr]
    before = kept.clone()
    _ = layer.eval().weight
    assert torch.equal(kept, before)
    _ = layer.train().weight
    assert not torch.equal(kept, before)


def test_first_weights_are_orthogonal() -> None:
    torch.manual_seed(0)
    weight = conv(8, 4, 3).parametrizations.weight.original.flatten(1)  # type: ignore[operator, union-attr]
    assert (weight @ weight.T).detach() == pytest.approx(torch.eye(4), abs=1e-5)


def test_the_gradient_knows_of_the_division() -> None:
    """Scaling a weight changes nothing, so the gradient is at right angles to it."""
    torch.manual_seed(0)
    layer = spectral(nn.Linear(5, 3, bias=False))
    original = layer.parametrizations.weight.original  # type: ignore[union-attr]
    with torch.no_grad():
        original.normal_()  # type: ignore[operator]
        for _ in range(100):
            _ = layer.weight
    layer(torch.randn(7, 5)).square().sum().backward()
    assert (original.grad * original).sum().item() == pytest.approx(0, abs=1e-4)  # type: ignore[operator, union-attr]


def test_attention_is_that_of_the_paper_and_begins_as_nothing() -> None:
    torch.manual_seed(0)
    layer, maps = SelfAttention(16).eval(), torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(maps), maps)
    with torch.no_grad():
        layer.factor.fill_(0.5)
        query = layer.query(maps).flatten(2)
        key, value = (F.max_pool2d(each(maps), 2).flatten(2) for each in (layer.key, layer.value))
        weights = (query.transpose(1, 2) @ key).softmax(-1)  # [batch, places, quarter of the places]
        expected = maps + 0.5 * layer.out((value @ weights.transpose(1, 2)).unflatten(2, (4, 4)))
        assert layer(maps) == pytest.approx(expected, abs=1e-5)


def test_the_norm_is_told_and_begins_near_plain_normalisation() -> None:
    torch.manual_seed(0)
    layer, maps = ConditionalNorm(6, 3), 2 + 3 * torch.randn(8, 6, 4, 4)
    with torch.no_grad():
        assert layer(maps, torch.zeros(8, 3)) == pytest.approx(layer.norm(maps), abs=1e-6)
        told = torch.eye(3)[torch.arange(8) % 3]
        out = layer(maps, told)
        normalised = layer.norm(maps)
        gain, bias = 1 + layer.gain(told), layer.bias(told)
        assert out == pytest.approx(normalised * gain[:, :, None, None] + bias[:, :, None, None], abs=1e-5)
        assert not torch.allclose(out, normalised)


def test_blocks_double_and_halve() -> None:
    maps = torch.randn(2, 6, 4, 4)
    assert UpBlock(6, 3, 5)(maps, torch.randn(2, 5)).shape == (2, 3, 8, 8)
    assert DownBlock(6, 3)(maps).shape == (2, 3, 2, 2)
    flat = DownBlock(6, 6, halve=False)
    assert flat(maps).shape == (2, 6, 4, 4) and isinstance(flat.skip, nn.Identity)


def test_the_shortcut_is_the_same_the_other_way_round() -> None:
    """The paper resizes before (up) or after (down) the 1x1 convolution, which is the same function."""
    torch.manual_seed(0)
    maps, up, down = torch.randn(2, 6, 4, 4), UpBlock(6, 3, 5).eval(), DownBlock(6, 3).eval()
    with torch.no_grad():
        doubled = F.interpolate(maps, scale_factor=2.0)
        assert up.skip(doubled) == pytest.approx(F.interpolate(up.skip(maps), scale_factor=2.0), abs=1e-5)
        assert F.avg_pool2d(down.skip(maps), 2) == pytest.approx(down.skip(F.avg_pool2d(maps, 2)), abs=1e-5)
