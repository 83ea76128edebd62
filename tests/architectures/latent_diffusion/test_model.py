"""Latent diffusion: published sizes, what does not fit, the two stages, what a sample depends on, and img2img."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.latent_diffusion import ARCHITECTURE

SMALL = {
    "name": "latent_diffusion", "widths": [8, 16], "blocks": 1, "attention": [], "heads": 2, "groups": 4,
    "autoencoder_widths": [8, 16], "autoencoder_blocks": 1, "autoencoder_steps": 40, "text_layers": 1, "text_heads": 2,
    "text_width": 16, "timesteps": 50, "schedule": "cosine", "prediction": "v",
}  # fmt: skip


def signature(side: int = 8, words: int = 5, length: int = 3) -> dict[str, Any]:
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
    return {"image": (1.2 * kind - 0.6).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(), "caption": caption}


def parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_stable_diffusion_1() -> None:
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model(
            {"name": "latent_diffusion", "autoencoder_steps": 0}, signature(512, 49_408, 77)
        )
    assert parameters(model.network) == 859_520_964
    assert parameters(model.autoencoder) == 83_653_863
    assert parameters(model.text) == 123_060_480
    assert model.shape == (4, 64, 64)


WITHOUT = {"task": "generation", "inputs": {"image": {"shape": [3, 8, 8], "dtype": "float32"}}, "outputs": [3, 8, 8]}


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({"prediction": "epsilon"}, signature(), r"cosine .*set architecture\.prediction to v, or architecture\.sched"),
        ({"groups": 3}, signature(), r"groups 3 does not divide the width 8; change architecture\.groups"),
        ({"autoencoder_widths": [8, 6]}, signature(), r"width 6; .*architecture\.autoencoder_widths"),
        ({"heads": 3}, signature(), r"heads 3 does not divide the width 8; change architecture\.heads"),
        (
            {"text_heads": 3},
            signature(),
            r"text_heads 3 .* 16; change architecture\.text_heads",
        ),
        ({"autoencoder_widths": [8] * 5}, signature(), r"8 pixels does not allow .*architecture\.autoencoder_widths"),
        ({"widths": [8] * 4}, signature(), r"a side of 4 pixels does not allow .*architecture\.widths"),
        ({}, WITHOUT, r"makes pictures by captions, the data have none; change data\.name"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **config}, data)


def test_the_autoencoder_must_leave_steps_to_the_network() -> None:
    with pytest.raises(ValueError, match=r"autoencoder_steps 40 leaves nothing of 40 steps .*architecture\.auto"):
        ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 40})


def test_an_autoencoder_that_never_learns_must_come_from_somewhere() -> None:
    never = {**SMALL, "autoencoder_steps": 0}
    ARCHITECTURE.check_run(never, total_steps=9, pretrained=True)
    ARCHITECTURE.check_run(SMALL, total_steps=41, pretrained=False)
    with pytest.raises(ValueError, match=r"autoencoder_steps is 0.*random weights; .*fine_tune\.pretrained"):
        ARCHITECTURE.check_run(never, total_steps=9, pretrained=False)


def built() -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model(SMALL, signature()).eval()


def sampled(model: Any, caption: Tensor, *, seed: int = 3, image: Tensor | None = None, **options: Any) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made: Tensor
    with torch.no_grad():
        if image is None:
            made = model.sample(len(caption), {"caption": caption}, generator=generator, options=options)
        else:
            made = model.vary(image, {"caption": caption}, generator=generator, options=options)
    return made


def test_a_sample_depends_on_seed_caption_and_options_alone() -> None:
    model, caption = built(), batch(3)["caption"]
    first = sampled(model, caption, steps=4)
    torch.manual_seed(99)
    assert first.shape == (3, 3, 8, 8) and torch.equal(first, sampled(model, caption, steps=4))
    for changed in ({"seed": 4}, {"eta": 0}, {"steps": 5}, {"guidance": 3}):
        assert not torch.equal(first, sampled(model, caption, **{"steps": 4, **changed}))
    assert not torch.equal(first, sampled(model, caption.flip(0).roll(1, 0), steps=4))
    with pytest.raises(ValueError, match="unknown option 'strength'"):
        sampled(model, caption, strength=0.5)


def test_a_picture_is_changed_the_more_the_stronger() -> None:
    model, given = built(), batch(4)
    again = model.decode(model.latents(given["image"])).clamp(-1, 1)
    far = [
        (sampled(model, given["caption"], image=given["image"], steps=20, strength=strength) - again).abs().mean()
        for strength in (0.05, 0.5, 1.0)
    ]
    assert far[0] < far[1] < far[2]
    with pytest.raises(ValueError, match=r"option strength is 0; allowed: a number above 0"):
        sampled(model, given["caption"], image=given["image"], strength=0)


def stepped(module: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training as Lightning does it, which counts the steps."""
    optimizer = module.configure_optimizers()["optimizer"]
    torch.manual_seed(1)
    for step in range(steps):
        monkeypatch.setattr(type(module), "global_step", step)
        optimizer.zero_grad()
        module.training_step(batch(), 0).backward()
        module.configure_gradient_clipping(optimizer, 1.0)
        optimizer.step()


def changed(module: Any, before: dict[str, Tensor]) -> set[str]:
    """The parts with another parameter than before."""
    return {
        name.partition(".")[0]
        for name, parameter in module.model.named_parameters()
        if not torch.equal(parameter, before[name])
    }


def test_one_part_learns_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    options = {"total_steps": 5, "optimizer": {"lr": 1e-3, "weight_decay": 0.1}}
    module: Any = ARCHITECTURE.build_module({**SMALL, "autoencoder_steps": 2}, signature(), options)
    start = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    stepped(module, 2, monkeypatch)
    assert changed(module, start) == {"autoencoder"} and module.model.deviation != 1
    assert set(module.parts) == {"reconstruction", "kl"}
    middle = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    monkeypatch.setattr(type(module), "global_step", 2)
    optimizer = module.configure_optimizers()["optimizer"]
    loss = module.training_step(batch(), 0)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.parameters()), "DDP waits for each of them"
    module.configure_gradient_clipping(optimizer, 1.0)
    optimizer.step()
    assert changed(module, middle) == {"network", "text"}
    assert module.model.deviation == middle["deviation"] and set(module.parts) == {"denoising"}


def test_the_learning_rate_goes_its_whole_course_in_each_stage() -> None:
    options = {"total_steps": 10, "optimizer": {"lr": 1.0, "schedule": "linear"}}
    module: Any = ARCHITECTURE.build_module({**SMALL, "autoencoder_steps": 4}, signature(), options)
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1, 3 / 4, 2 / 4, 1 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_the_error_of_a_pixel_is_absolute_or_squared() -> None:
    def error(kind: str) -> Tensor:
        torch.manual_seed(0)
        model: Any = ARCHITECTURE.build_model({**SMALL, "pixel_error": kind}, signature()).eval()
        for parameter in model.autoencoder.decoder.conv_out.parameters():
            torch.nn.init.zeros_(parameter)  # pictures of nothing but grey
        found: Tensor = model.autoencode(batch()["image"]).error.detach()
        return found

    assert torch.allclose(error("absolute"), torch.tensor(0.6 * 192))
    assert torch.allclose(error("squared"), torch.tensor(0.36 * 192))


def test_an_autoencoder_of_another_model_is_kept() -> None:
    options = {"total_steps": 1, "freeze": ["autoencoder.*"]}
    module: Any = ARCHITECTURE.build_module({**SMALL, "autoencoder_steps": 0}, signature(), options)
    module.training_step(batch(), 0).backward()
    grown = {name.partition(".")[0] for name, weight in module.model.named_parameters() if weight.grad is not None}
    assert grown == {"network", "text"}


def test_validation_is_the_same_every_time_and_has_both_stages() -> None:
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 50}).eval()
    with torch.no_grad():
        first, again = (module.validation_step(batch(), 0) for _ in range(2))
        other = module.validation_step(batch(), 1)
    assert torch.equal(first["loss_sum"], again["loss_sum"]) and first["count"] == 8
    assert not torch.equal(first["loss_sum"], other["loss_sum"])
    parts = first["parts"]
    assert set(parts) == {"reconstruction", "kl", "denoising"}
    total = parts["reconstruction"] + 1e-6 * parts["kl"] + parts["denoising"]
    assert float(total) == pytest.approx(float(first["loss_sum"]), rel=1e-5)
    assert module.model.deviation == 1


def test_it_learns_what_captions_say(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 120, "optimizer": {"lr": 5e-3}})
    stepped(module, 120, monkeypatch)
    module.eval()
    wanted = batch()
    for options in ({"eta": 1.0}, {"eta": 0.0, "steps": 10, "guidance": 2.0}):
        made = sampled(module.model, wanted["caption"], **options).mean((1, 2, 3))
        assert bool((made.sign() == wanted["image"].mean((1, 2, 3)).sign()).all()), options
    varied = sampled(module.model, wanted["caption"], image=-wanted["image"], eta=0.0, steps=10, strength=0.9)
    assert bool((varied.mean((1, 2, 3)).sign() == wanted["image"].mean((1, 2, 3)).sign()).all())
