"""BigGAN: the paper's size, what does not fit, truncation, what a sample depends on, and that it learns its classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgeline_architectures.biggan import ARCHITECTURE
from forgeline_architectures.biggan.model import truncated_normal

SMALL = {"name": "biggan", "latent": 6, "embedding": 4, "widths": [8, 8, 8], "attention": 4}


def signature(channels: int = 1, side: int = 8, classes: int = 2) -> dict[str, Any]:
    return {
        "task": "generation",
        "inputs": {
            "image": {"shape": [channels, side, side], "dtype": "float32"},
            "label": {"shape": [], "dtype": "int64"},
        },
        "outputs": [channels, side, side],
        "conditions": {"label": classes},
    }


UNTOLD = {"task": "generation", "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}}, "outputs": [1, 8, 8]}


def module(data: dict[str, Any] | None = None, **config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_module({**SMALL, **config}, data or signature(), {"total_steps": 10})


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_paper_for_128_pixels() -> None:
    """Brock et al. 2019, table 1, say 158.3 million of their own network; the authors' code has these numbers."""
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "biggan"}, signature(3, 128, 1000))
    assert parameters(model.generator) == 70_433_988
    assert parameters(model.discriminator) == 87_982_370


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({}, UNTOLD, r"by label, the data's condition is none; change data\.condition"),
        ({"latent": 7}, signature(), r"latent 7 is no multiple of 3"),
        ({}, signature(side=10), r"a side of 10 pixels does not allow .*data\.size or architecture\.widths"),
        ({"attention": 8}, signature(), r"attention 8 is .*allowed: 4, none; change architecture\.attention"),
        ({"widths": [8, 8]}, signature(), r"attention 4 is .*allowed: none; change architecture\.attention"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **config}, data)


@pytest.mark.parametrize(
    ("side", "config"),
    [
        (8, {}),
        (8, {"widths": [8, 4], "attention": None}),
        (16, {"widths": [8, 8, 4], "attention": 8}),
        (32, {"widths": [8, 8, 4, 4], "latent": 8, "attention": 16}),
    ],
)
def test_pictures_of_each_size(side: int, config: dict[str, Any]) -> None:
    model = module(signature(3, side), **config).model
    attending = [each for each in model.modules() if type(each).__name__ == "SelfAttention"]
    assert len(attending) == (2 if {**SMALL, **config}["attention"] else 0)
    batch = {"image": torch.randn(4, 3, side, side), "label": torch.arange(4) % 2}
    made = model.made(torch.randn(4, model.latent), batch)
    assert made.shape == (4, 3, side, side) and made.abs().max() <= 1
    assert model(batch).shape == (4,)


def test_what_is_larger_is_drawn_again() -> None:
    numbers = truncated_normal(400, 50, limit=0.5, generator=torch.Generator().manual_seed(0))
    assert numbers.abs().max() <= 0.5
    # The density of a normal number within 0.5 of 0 has the deviation 0.2837.
    assert numbers.mean().item() == pytest.approx(0, abs=0.01) and numbers.std().item() == pytest.approx(
        0.2837, rel=0.02
    )
    wide = truncated_normal(400, 50, limit=8.0, generator=torch.Generator().manual_seed(0))
    assert wide.std().item() == pytest.approx(1, rel=0.02)


def sampled(model: Any, label: Tensor, *, seed: int = 3, **options: Any) -> Tensor:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        made: Tensor = model.sample(len(label), {"label": label}, generator=generator, options=options)
    return made


def test_a_sample_depends_on_seed_class_and_truncation_alone() -> None:
    model, label = module().model.eval(), torch.tensor([0, 1, 0])
    first = sampled(model, label)
    torch.manual_seed(99)
    assert torch.equal(first, sampled(model, label)) and not torch.equal(first, sampled(model, 1 - label))
    assert not torch.equal(first, sampled(model, label, seed=4))
    assert not torch.equal(first, sampled(model, label, truncation=0.5))
    still = sampled(model, label, truncation=1e-6)
    assert still[0] == pytest.approx(still[2], abs=1e-4), "without noise there is one picture of each class"
    assert not torch.allclose(still[0], still[1], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncation": 0}, "truncation is 0; allowed: a number above 0"),
        ({"truncation": "low"}, "truncation is 'low'; allowed"),
        ({"steps": 3}, r"unknown option 'steps'; allowed: truncation"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampled(module().model, torch.tensor([0]), **options)


def test_the_game_is_the_papers() -> None:
    found = module()
    assert (found.discriminator_steps, found.options.optimizer.betas) == (2, (0.0, 0.999))
    batch = {"image": torch.randn(4, 1, 8, 8), "label": torch.arange(4) % 2}
    fake = found.fake(batch).detach()
    found.eval()
    with torch.no_grad():
        real, made = (found.model.logits(each, batch) for each in (batch["image"], fake))
        hinge = (1 - real).clamp(min=0).mean() + (1 + made).clamp(min=0).mean()
        assert found.discriminator_loss(batch, fake).item() == pytest.approx(hinge.item())
        assert found.generator_loss(batch, fake).item() == pytest.approx(-made.mean().item())


def test_it_learns_what_its_classes_look_like() -> None:
    """Class 0 is dark at the left and bright at the right, class 1 the other way round."""
    found = module(widths=[16, 16], latent=4, attention=None)
    players = [
        torch.optim.Adam(p.parameters(), lr=2e-3, betas=(0.0, 0.99)) for p in (found.generator, found.discriminator)
    ]
    ramp = torch.linspace(-0.8, 0.8, 8).expand(1, 8, 8)
    label = torch.arange(16) % 2
    pictures = torch.stack([ramp if kind == 0 else -ramp for kind in label.tolist()])
    for _ in range(60):
        batch = {"image": pictures, "label": label}
        players[1].zero_grad()
        found.loss(batch).backward()
        players[1].step()
        players[0].zero_grad()
        found.generator_loss(batch, found.fake(batch)).backward()
        players[0].step()
    made = sampled(found.model.eval(), label)
    own, other = ((made - sign * pictures).abs().mean((1, 2, 3)) for sign in (1, -1))
    assert bool((own < other).all()) and own.mean() < 0.3
