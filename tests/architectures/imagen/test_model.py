"""Imagen: what does not fit, what a sample depends on, noise conditioning augmentation, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.imagen import ARCHITECTURE

SMALL = {
    "name": "imagen", "factor": 2, "widths": [8], "blocks": 1, "attention": [], "upsampler_widths": [8],
    "upsampler_blocks": 1, "heads": 2, "groups": 4, "text_layers": 1, "text_heads": 2, "text_width": 16,
    "timesteps": 50, "prediction": "v", "steps": 5, "upsampler_steps": 4,
}  # fmt: skip


def signature(side: int = 4, words: int = 5, length: int = 3) -> dict[str, Any]:
    image, caption = {"shape": [3, side, side], "dtype": "float32"}, {"shape": [length], "dtype": "int64"}
    return {
        "task": "generation",
        "inputs": {"image": image, "caption": caption},
        "outputs": [3, side, side],
        "conditions": {"caption": words},
    }


def batch(rows: int = 8) -> dict[str, Tensor]:
    """`3` is a dark picture, `4` a bright one."""
    kind = torch.arange(rows) % 2
    caption = torch.stack([3 + kind, torch.full_like(kind, 2), torch.zeros_like(kind)], dim=1)
    return {"image": (1.2 * kind - 0.6).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous(), "caption": caption}


def test_the_defaults_are_a_cascade_from_64_to_256_pixels() -> None:
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "imagen"}, signature(256, 49_408, 77))
    assert model.small_shape == (3, 64, 64) and model.shape == (3, 256, 256)
    assert model.base.conv_in.in_channels == 3 and model.upsampler.conv_in.in_channels == 6


WITHOUT = {"task": "generation", "inputs": {"image": {"shape": [3, 4, 4], "dtype": "float32"}}, "outputs": [3, 4, 4]}


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({"upsampler_widths": [6]}, signature(), r"groups 4 .* width 6; .*architecture\.upsampler_widths"),
        ({"heads": 3}, signature(), r"heads 3 does not divide the width 8; change architecture\.heads"),
        ({"factor": 3}, signature(), r"factor 3 does not divide a side of 4 pixels; change architecture\.factor"),
        ({"widths": [8, 8, 8]}, signature(), r"a side of 2 pixels does not allow .*architecture\.widths"),
        ({"upsampler_widths": [8] * 4}, signature(), r"4 pixels does not allow .*architecture\.upsampler_widths"),
        ({"upsampler_steps": 51}, signature(), r"upsampler_steps 51 is more than the 50 timesteps"),
        ({"unconditional": 0, "upsampler_guidance": 2}, signature(), r"needs architecture\.unconditional above 0"),
        ({}, WITHOUT, r"makes pictures by captions, the data have none; change data\.name"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **config}, data)


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model({**SMALL, **config}, signature()).eval()


def sampled(model: Any, caption: Tensor, *, seed: int = 3, **options: Any) -> Tensor:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        made: Tensor = model.sample(len(caption), {"caption": caption}, generator=generator, options=options)
    return made


def test_a_sample_depends_on_seed_caption_and_options_alone() -> None:
    model, caption = built(), batch(3)["caption"]
    first = sampled(model, caption)
    torch.manual_seed(99)
    assert first.shape == (3, 3, 4, 4) and torch.equal(first, sampled(model, caption)) and first.abs().max() <= 1
    for changed in ({"seed": 4}, {"eta": 0}, {"steps": 6}, {"guidance": 3}):
        assert not torch.equal(first, sampled(model, caption, **changed)), changed
    assert not torch.equal(first, sampled(model, caption.flip(0).roll(1, 0)))
    for other in ({"upsampler_guidance": 3.0}, {"upsampler_steps": 5}, {"augmentation": 0.5}, {"threshold": 0.5}):
        assert not torch.equal(first, sampled(built(**other), caption)), other


def test_the_small_picture_is_noisy_as_its_level_says() -> None:
    model, small = built(), torch.full((2000, 3, 2, 2), 0.5)
    for level in (0, 25, 49):
        told = model.augmented(small, torch.full((2000,), level), torch.Generator().manual_seed(0))
        signal, noise = (float(part[level + 1]) for part in (model.schedule.signal, model.schedule.noise))
        corner = told["small"][..., 0, 0]
        assert corner.shape == (2000, 3) and bool((told["level"] == level).all())
        assert float(corner.mean()) == pytest.approx(0.5 * signal, abs=0.04)
        assert float(corner.std()) == pytest.approx(noise, abs=0.04)


def test_an_enlargement_depends_on_the_small_picture_and_its_level() -> None:
    model, given = built(), batch(2)
    time, text = torch.tensor([30, 30]), {"text": model.text.states(given["caption"])}
    with torch.no_grad():
        plain = {**text, "small": given["image"], "level": torch.tensor([5, 5])}
        said = [
            model.enlarge(given["image"], time, {**plain, **change})
            for change in ({}, {"small": -given["image"]}, {"level": torch.tensor([40, 40])})
        ]
    assert not torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])


def test_small_pictures_are_means_of_squares() -> None:
    model = built()
    image = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert model.smaller(image)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert torch.equal(model.larger(torch.ones(1, 3, 2, 2)), torch.ones(1, 3, 4, 4))


def test_validation_is_the_same_every_time() -> None:
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 1}).eval()
    with torch.no_grad():
        first, again = (module.validation_step(batch(), 0) for _ in range(2))
        other = module.validation_step(batch(), 1)
    assert torch.equal(first["loss_sum"], again["loss_sum"]) and first["count"] == 8
    assert not torch.equal(first["loss_sum"], other["loss_sum"])
    assert float(sum(first["parts"].values())) == pytest.approx(float(first["loss_sum"]), rel=1e-5)


def test_it_learns_what_captions_say() -> None:
    torch.manual_seed(0)
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 80, "optimizer": {"lr": 1e-2}})
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(80):
        optimizer.zero_grad()
        module.training_step(batch(), 0).backward()
        optimizer.step()
    module.eval()
    wanted = batch()["image"]
    for options in ({"eta": 0.0, "steps": 10}, {"eta": 0.0, "steps": 10, "guidance": 2.0}):
        made = sampled(module.model, batch()["caption"], **options)
        assert bool((made.mean((1, 2, 3)).sign() == wanted.mean((1, 2, 3)).sign()).all()), options
        assert (made - wanted).abs().mean() < 0.3
