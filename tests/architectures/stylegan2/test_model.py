"""StyleGAN2: which layer follows which style, what a sample depends on, truncation, the mixing picture, parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.stylegan2 import ARCHITECTURE
from forgeline_architectures.stylegan2.model import COLUMNS, ROWS, StyleGAN2

CONFIG = {"name": "stylegan2", "latent": 6, "style": 5, "mapping_layers": 2, "widths": [8, 6, 4]}


def signature(height: int, width: int) -> dict[str, Any]:
    shape = [1, height, width]
    return {"task": "generation", "inputs": {"image": {"shape": shape, "dtype": "float32"}}, "outputs": shape}


def model(**config: Any) -> StyleGAN2:
    torch.manual_seed(0)
    found: Any = ARCHITECTURE.build_model({**CONFIG, **config}, signature(16, 16))
    return found.eval()


def noisy() -> StyleGAN2:
    found = model()
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith("strength"):
                parameter.fill_(0.3)
    return found


def sampled(found: StyleGAN2, seed: int = 3, **options: Any) -> Tensor:
    with torch.no_grad():
        return found.sample(4, {}, generator=torch.Generator().manual_seed(seed), options=options)


def test_a_sample_depends_on_the_seed_alone_noise_included() -> None:
    found = noisy()
    first = sampled(found)
    torch.manual_seed(99)
    assert first.shape == (4, 1, 16, 16) and first.abs().max() <= 1
    assert torch.equal(first, sampled(found)) and not torch.equal(first, sampled(found, 4))


def test_noise_varies_a_picture_of_one_style() -> None:
    found = noisy()
    styles = found.everywhere(found.generator.mapping(torch.randn(1, 6)))
    one, other = (found.styled(styles, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(one, other)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith("strength"):
                parameter.zero_()
    assert torch.equal(*(found.styled(styles, torch.Generator().manual_seed(seed)) for seed in (0, 1)))


def test_every_layer_takes_its_own_style() -> None:
    """All 6 change the picture, each at its own place."""
    found = model()
    styles = torch.randn(2, found.generator.layers, 5, requires_grad=True)
    found.styled(styles).square().sum().backward()
    assert found.generator.layers == 6 and styles.grad is not None
    assert (styles.grad.abs().sum((0, 2)) > 0).all()
    seen: list[Tensor] = []
    for layer in [*found.generator.convolutions, *found.generator.to_picture]:
        layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    numbered = torch.arange(6.0)[None, :, None].expand(2, -1, 5)
    found.styled(numbered)
    # Convolution, picture of 4x4; two convolutions, picture of 8x8; two convolutions, picture of 16x16.
    assert [int(each[0, 0]) for each in seen] == [0, 1, 1, 2, 3, 3, 4, 5]


def test_mixed_styles_are_coarse_first_and_fine_after() -> None:
    found = model()
    coarse, fine = torch.zeros(3, 5), torch.ones(3, 5)
    mixed = found.mixed(coarse, fine, torch.tensor([1, 4, 6]))
    assert mixed.shape == (3, 6, 5)
    assert mixed[:, :, 0].sum(1).tolist() == [5, 2, 0] and mixed[1, :4].sum() == 0


def test_truncation_draws_styles_to_their_mean() -> None:
    found = model()
    with torch.no_grad():
        found.mean_style.copy_(found.generator.mapping(torch.randn(500, 6)).mean(0))
    still, half, free = (sampled(found, truncation=share) for share in (0, 0.5, 1.0))
    assert torch.allclose(still, still[:1].expand_as(still), atol=1e-6)
    assert half.var(0).mean() < free.var(0).mean()
    assert torch.equal(free, sampled(found))


@pytest.mark.parametrize(("options", "message"), [
    ({"truncation": 1.5}, "truncation is 1.5; allowed: a number from 0 to 1"),
    ({"truncation": True}, "truncation is True; allowed"),
    ({"steps": 1}, r"unknown option 'steps'; allowed: truncation \(a number from 0 to 1; 1 is none\)"),
])  # fmt: skip
def test_other_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampled(model(), **options)


def test_the_mixing_picture_has_its_sources_at_the_edge() -> None:
    found = model()
    (grid,) = found.illustrations(generator=torch.Generator().manual_seed(1)).values()
    assert grid.shape == (ROWS + 1, COLUMNS + 1, 1, 16, 16)
    assert (grid[0, 0] == -1).all() and grid.abs().max() <= 1
    # Where coarse and fine come from the same style, the mix is that style.
    style = found.generator.mapping(torch.randn(1, 6))
    assert torch.equal(found.mixed(style, style, torch.tensor([3])), found.everywhere(style))
    with torch.no_grad():  # fine layers that do nothing leave the coarse style alone: rows of equal pictures
        for layer in found.generator.convolutions[3:]:
            layer.convolution.scales.weight.zero_()
        for layer in found.generator.to_picture[1:]:
            layer.convolution.scales.weight.zero_()
        (grid,) = found.illustrations(generator=torch.Generator().manual_seed(1)).values()
    assert torch.allclose(grid[1:, 1:], grid[1:, :1].expand(-1, COLUMNS, -1, -1, -1), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 8)])
def test_pictures_of_another_size_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=rf"3 resolutions \(4, 8, 16 pixels\).*{height}x{width}.*data\.size"):
        ARCHITECTURE.check(CONFIG, signature(height, width))


def test_parameters_by_construction() -> None:
    with torch.device("meta"):
        found: Any = ARCHITECTURE.build_model({"name": "stylegan2"}, signature(32, 32))
    scales, conv = 512 * 512 + 512, 512 * 512 * 9
    mapping = 8 * scales
    generator = mapping + 512 * 16 + 7 * (scales + conv + 512 + 1) + 4 * (scales + 512 + 1)
    assert sum(p.numel() for p in found.generator.parameters()) == generator
    blocks = 3 * (2 * (conv + 512) + 512 * 512 + 512)
    ends = 2 * 512 + (conv + 512 * 9 + 512) + (512 * 16 * 512 + 512) + 513
    assert sum(p.numel() for p in found.discriminator.parameters()) == blocks + ends
