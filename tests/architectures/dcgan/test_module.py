"""DCGAN: the size of the authors' network, what does not fit, its range, what a sample depends on, and learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgeline_architectures.dcgan import ARCHITECTURE


def signature(*shape: int) -> dict[str, Any]:
    return {
        "task": "generation",
        "inputs": {"image": {"shape": list(shape), "dtype": "float32"}},
        "outputs": list(shape),
    }


SMALL = {"name": "dcgan", "latent": 4, "widths": [16, 8]}


def module(*shape: int, **config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_module({**SMALL, **config}, signature(*shape or (1, 8, 8)), {"total_steps": 10})


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_defaults_for_64_colour_pixels() -> None:
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "dcgan"}, signature(3, 64, 64))
    widths = (512, 256, 128, 64)
    between = sum(a * b * 16 for a, b in zip(widths, widths[1:], strict=False))
    norms = 2 * sum(widths)
    assert parameters(model.generator) == 100 * 512 * 16 + between + 64 * 3 * 16 + 3 + norms
    assert parameters(model.discriminator) == 3 * 64 * 16 + 64 + between + norms - 2 * 64 + 512 * 16 + 1
    assert parameters(model) == 6_342_340


@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 6, 8)])
def test_pictures_that_cannot_be_halved_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 4\); change data\.size or architecture\.widths"):
        ARCHITECTURE.check(SMALL, signature(*shape))


def test_oblong_colour_pictures_are_made() -> None:
    model = module(3, 8, 12).model
    with torch.no_grad():
        made = model.made(100 * torch.randn(5, 4), {})
    assert made.shape == (5, 3, 8, 12) and made.abs().max() <= 1
    assert model({"image": made}).shape == (5,)


def test_first_weights_are_those_of_the_paper() -> None:
    model = module(1, 64, 64, widths=[64, 64]).model
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_sample_depends_on_the_seed_alone() -> None:
    model = module().model.eval()

    def made(seed: int) -> Tensor:
        out: Tensor = model.sample(3, {}, generator=torch.Generator().manual_seed(seed), options={})
        return out

    first = made(3)
    torch.manual_seed(99)
    assert torch.equal(first, made(3)) and not torch.equal(first, made(4))


def test_betas_are_those_of_the_paper() -> None:
    assert module().options.optimizer.betas == (0.5, 0.999)


def test_it_learns_the_pictures_it_was_shown() -> None:
    """A ramp from dark to bright or its mirror: both are made, and hardly anything else."""
    found = module(latent=2, widths=[32, 16])
    players = [
        torch.optim.Adam(p.parameters(), lr=2e-3, betas=(0.5, 0.9)) for p in (found.generator, found.discriminator)
    ]
    ramp = torch.linspace(-0.8, 0.8, 8).expand(1, 8, 8)
    kinds = torch.stack([ramp, -ramp])
    for _ in range(120):
        batch = {"image": kinds.repeat(8, 1, 1, 1)}
        players[1].zero_grad()
        found.loss(batch).backward()
        players[1].step()
        players[0].zero_grad()
        found.generator_loss(batch, found.fake(batch)).backward()
        players[0].step()
    with torch.no_grad():
        made = found.model.eval().sample(64, {}, generator=torch.Generator().manual_seed(1), options={})
    off = (made[:, None] - kinds).abs().mean((2, 3, 4))
    nearest = off.argmin(1)
    assert off.min(1).values.median() < 0.25 and nearest.bincount(minlength=2).min() >= 8
