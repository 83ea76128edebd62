"""The growing networks: sizes by stage, fading, what a sample and a saved model know, parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.progressive_gan import ARCHITECTURE
from forgeline_architectures.progressive_gan.model import ProgressiveGAN

SIGNATURE = {
    "task": "generation",
    "inputs": {"image": {"shape": [1, 16, 16], "dtype": "float32"}},
    "outputs": [1, 16, 16],
}
CONFIG = {"name": "progressive_gan", "latent": 6, "widths": [8, 6, 4], "stage_steps": 10}


def model(step: int = 0, **config: Any) -> ProgressiveGAN:
    torch.manual_seed(0)
    found: Any = ARCHITECTURE.build_model({**CONFIG, **config}, SIGNATURE)
    found.step.fill_(step)
    return found


@pytest.mark.parametrize(("step", "side"), [(0, 4), (9, 4), (10, 8), (25, 16), (999, 16)])
def test_both_networks_and_the_data_have_the_resolution_of_the_step(step: int, side: int) -> None:
    found = model(step)
    made = found.made(torch.randn(5, 6), {})
    assert made.shape == (5, 1, side, side) == found.shrunk(torch.randn(5, 1, 16, 16)).shape
    assert found.logits(made, {}).shape == (5,)


def test_only_layers_of_the_stages_so_far_are_moved() -> None:
    found = model(12)
    found.logits(found.made(torch.randn(5, 6), {}), {}).sum().backward()
    still = {name for name, parameter in found.named_parameters() if parameter.grad is None}
    assert {name.rsplit(".", 1)[0] for name in still if "picture" in name} == {
        "generator.to_picture.2",
        "discriminator.from_picture.2.0",
    }
    assert all("picture.2" in name or "blocks.1." in name for name in still)


def test_a_stage_begins_as_the_one_before_and_ends_alone() -> None:
    """With a share of nearly nothing, samples and scores are those of the stage before, pixels doubled."""
    noise, small = torch.randn(5, 6), model(9)
    made, scores = small.made(noise, {}), small.logits(small.made(noise, {}), {})
    grown = model(10, stage_steps=10, fade=1.0)
    nothing = torch.tensor(1e-7)
    begun = grown.generator(noise, 1, nothing)
    assert torch.allclose(begun, made.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-4)
    assert torch.allclose(grown.discriminator(begun, 1, nothing), scores, atol=1e-4)
    assert torch.allclose(grown.generator(noise, 1, torch.tensor(1.0)), grown.generator(noise, 1), atol=1e-6)
    assert torch.allclose(grown.discriminator(begun, 1, torch.tensor(1.0)), grown.discriminator(begun, 1), atol=1e-6)


def test_data_are_mixed_in_the_share_of_the_samples() -> None:
    pictures = torch.arange(16.0).reshape(1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    pictures = torch.cat([pictures, pictures], 2).repeat(1, 1, 1, 2)
    sharp = model(19).shrunk(pictures)
    assert torch.equal(sharp, pictures[..., ::2, ::2])
    coarse = torch.nn.functional.avg_pool2d(pictures, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    mixed = model(10).shrunk(pictures)  # the first of 5 steps
    assert torch.allclose(mixed, 0.2 * sharp + 0.8 * coarse)


def test_samples_have_the_size_of_the_data_at_every_stage_and_stay_in_their_range() -> None:
    def sampled(found: ProgressiveGAN, seed: int = 3) -> Tensor:
        return found.sample(4, {}, generator=torch.Generator().manual_seed(seed), options={})

    small = sampled(model(0))
    assert small.shape == (4, 1, 16, 16) and small.abs().max() <= 1
    blocks = small.unflatten(3, (4, 4)).unflatten(2, (4, 4))
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
    assert sampled(model(29)).shape == (4, 1, 16, 16)
    assert torch.equal(small, sampled(model(0))) and not torch.equal(small, sampled(model(0), 4))
    with pytest.raises(ValueError, match="unknown option 'steps'; allowed: none"):
        model().sample(1, {}, generator=torch.Generator(), options={"steps": 1})


def test_a_saved_model_knows_how_far_it_had_grown() -> None:
    first, second = model(12), model(0)
    second.load_state_dict(first.state_dict())
    assert second.growth == first.growth == (1, pytest.approx(0.6))


def test_parameters_by_construction() -> None:
    with torch.device("meta"):
        inputs = {"image": {"shape": [1, 32, 32], "dtype": "float32"}}
        signature = {**SIGNATURE, "inputs": inputs, "outputs": [1, 32, 32]}
        found: Any = ARCHITECTURE.build_model({"name": "progressive_gan"}, signature)
    conv, dense = 512 * 512 * 9 + 512, 512 * 16 * 512
    assert sum(p.numel() for p in found.generator.parameters()) == dense + 512 * 16 + 7 * conv + 4 * 513
    discriminator = 6 * conv + (conv + 512 * 9) + dense + 512 + 513 + 4 * 1024
    assert sum(p.numel() for p in found.discriminator.parameters()) == discriminator
