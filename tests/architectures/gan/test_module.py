"""GAN and both WGANs: what losses with penalties are worth, defaults by name, what a sample depends on, learning."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgeline_architectures.gan import ARCHITECTURE
from forgeline_architectures.gan.module import GANModule

POINTS = {
    "task": "generation",
    "inputs": {"numeric": {"shape": [2], "dtype": "float32"}},
    "outputs": [2],
}
LABELLED = {
    **POINTS,
    "inputs": {**POINTS["inputs"], "label": {"shape": [], "dtype": "int64"}},  # type: ignore[dict-item]
    "conditions": {"label": 2},
}
PICTURES = {"task": "generation", "inputs": {"image": {"shape": [1, 4, 4], "dtype": "float32"}}, "outputs": [1, 4, 4]}


def module(name: str, signature: dict[str, Any] = POINTS, **config: Any) -> Any:
    torch.manual_seed(0)
    config = {"name": name, "latent": 4, "hidden": [16], **config}
    return ARCHITECTURE.build_module(config, signature, {"total_steps": 10})


def linear(name: str, **config: Any) -> Any:
    """A module whose discriminator answers 3x + 4y + 1, of gradient norm 5."""
    found = module(name, **config)
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
        layer.bias.fill_(1.0)
    found.model.discriminator = nn.Sequential(layer)
    return found


REAL, FAKE = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [-1.0, 0.0]])


def test_losses_are_those_of_the_papers() -> None:
    batch = {"numeric": REAL}  # answers 4 and 5; 1 and -2 on what is made
    gan, wgan = linear("gan", penalty=0.5), linear("wgan_gp")
    plus = [math.log1p(math.exp(value)) for value in (-4, -5, 1, -2)]
    plain = (sum(plus[:2]) + sum(plus[2:])) / 2
    assert gan.discriminator_loss(batch, FAKE).item() == pytest.approx(plain + 0.5 * 25 / 2)
    assert wgan.discriminator_loss(batch, FAKE).item() == pytest.approx(-0.5 - 4.5 + 10 * 16)
    assert wgan.generator_loss(batch, FAKE).item() == pytest.approx(0.5)
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2
    assert gan.generator_loss(batch, FAKE).item() == pytest.approx(expected)
    with torch.no_grad():
        assert gan.eval().discriminator_loss(batch, FAKE).item() == pytest.approx(plain)
        assert wgan.eval().discriminator_loss(batch, FAKE).item() == pytest.approx(-5)


def test_weights_of_the_critic_alone_are_clipped() -> None:
    held, own, free = linear("wgan"), linear("wgan", clip=3.5), linear("wgan_gp")
    before = held.model.generator[0].weight.clone()
    for each in (held, own, free):
        each.discriminator_moved()
    weights = [each.model.discriminator[0].weight.tolist()[0] for each in (held, own, free)]
    assert weights == [pytest.approx([0.01, 0.01]), [3.0, 3.5], [3.0, 4.0]]
    assert held.model.discriminator[0].bias.item() == pytest.approx(0.01)
    assert torch.equal(before, held.model.generator[0].weight)
    assert held.discriminator_loss({"numeric": REAL}, FAKE).item() == pytest.approx(0.01 * (-0.5 - 1))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("gan", {"clip": 0.1}, r"clip 0\.1 is for wgan, not for gan; remove architecture\.clip"),
        ("wgan", {"penalty": 10.0}, r"penalty 10\.0 is for gan and wgan_gp; .*architecture\.clip"),
    ],
)
def test_the_other_bound_is_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({"name": name, **config}, POINTS)


def test_what_is_not_given_follows_the_name() -> None:
    gan, wgan, own = module("gan"), module("wgan_gp"), module("wgan_gp", discriminator_steps=2, penalty=1)
    assert (module("wgan").discriminator_steps, module("wgan").model.config.weight_limit) == (5, 0.01)
    assert [m.discriminator_steps for m in (gan, wgan, own)] == [1, 5, 2]
    assert [m.model.config.penalty_weight for m in (gan, wgan, own)] == [0, 10, 1]
    assert [m.options.optimizer.betas for m in (gan, wgan)] == [(0.5, 0.999), (0.0, 0.9)]


def test_parameters_of_the_defaults() -> None:
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "gan"}, POINTS)
    assert sum(p.numel() for p in model.generator.parameters()) == 65 * 128 + 2 * 129 * 128 + 129 * 2 == 41_602


def test_a_sample_depends_on_seed_and_label_alone() -> None:
    model = module("gan", LABELLED).model.eval()

    def made(seed: int, label: Tensor) -> Tensor:
        out: Tensor = model.sample(3, {"label": label}, generator=torch.Generator().manual_seed(seed), options={})
        return out

    label = torch.tensor([0, 1, 0])
    first = made(3, label)
    torch.manual_seed(99)
    assert first.shape == (3, 2) and torch.equal(first, made(3, label))
    assert not torch.equal(first, made(4, label)) and not torch.equal(first, made(3, 1 - label))
    with pytest.raises(ValueError, match="unknown option 'steps'; allowed: none"):
        model.sample(1, {"label": label[:1]}, generator=torch.Generator(), options={"steps": 1})


def test_pictures_stay_in_their_range() -> None:
    model = module("gan", PICTURES).model
    with torch.no_grad():
        made = model.made(100 * torch.randn(5, 4), {})
    assert made.shape == (5, 1, 4, 4) and made.abs().max() <= 1


def test_a_caption_is_refused() -> None:
    data = {
        **POINTS,
        "inputs": {"numeric": {"shape": [2], "dtype": "float32"}, "caption": {"shape": [6], "dtype": "int64"}},
        "conditions": {"caption": 9},
    }
    with pytest.raises(ValueError, match=r"takes"):
        ARCHITECTURE.check({"name": "gan"}, data)


@pytest.mark.parametrize("name", ["gan", "wgan_gp"])
def test_it_learns_where_its_classes_are(name: str) -> None:
    """Class 0 lies around (-1, 0), class 1 around (1, 0)."""
    found: GANModule = module(name, LABELLED, hidden=[32, 32], penalty=1.0)
    players = [
        torch.optim.Adam(p.parameters(), lr=5e-3, betas=(0.5, 0.9)) for p in (found.generator, found.discriminator)
    ]
    label = torch.arange(64) % 2
    centre = torch.stack([2.0 * label - 1, torch.zeros(64)], dim=1)
    for _ in range(300):
        batch = {"numeric": centre + 0.1 * torch.randn(64, 2), "label": label}
        players[1].zero_grad()
        found.loss(batch).backward()
        players[1].step()
        players[0].zero_grad()
        found.generator_loss(batch, found.fake(batch)).backward()
        players[0].step()
    with torch.no_grad():
        made = found.model.sample(64, {"label": label}, generator=torch.Generator().manual_seed(1), options={})
    off = (made - centre).norm(dim=1)
    assert off.median() < 0.5 and (made[:, 0].sign() == centre[:, 0].sign()).float().mean() > 0.95
