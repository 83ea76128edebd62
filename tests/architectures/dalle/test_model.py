"""DALL-E: the paper's size, what does not fit, the two stages, the row of tokens, and what a sample depends on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.dalle import ARCHITECTURE

SMALL = {
    "name": "dalle", "codes": 6, "autoencoder_widths": [8, 16], "autoencoder_blocks": 1, "autoencoder_steps": 60,
    "kl": 0.1, "layers": 1, "heads": 2, "width": 16,
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


def test_parameters_of_the_paper() -> None:
    """12 billion (section 2.4): 64 blocks of 12 width^2 + 13 width, tables of tokens and of 256 + 1,024 places."""
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "dalle", "autoencoder_steps": 0}, signature(256, 16_384, 256))
    width = 3968
    blocks = 64 * (12 * width**2 + 13 * width)
    tables = (16_384 + 8_192 + 256 + 1_024) * width + 2 * width
    assert sum(parameter.numel() for parameter in model.decoder.parameters()) == blocks + tables == 12_198_084_352
    assert model.places == 1024


WITHOUT = {"task": "generation", "inputs": {"image": {"shape": [3, 4, 4], "dtype": "float32"}}, "outputs": [3, 4, 4]}


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({"heads": 3}, signature(), r"heads must divide width, got heads 3 .*architecture\.heads"),
        (
            {"autoencoder_widths": [8, 6]},
            signature(),
            r"multiples of 4, got 6; change architecture\.auto",
        ),
        ({"autoencoder_widths": [8] * 4}, signature(), r"4 pixels does not allow .*architecture\.autoencoder_widths"),
        ({}, WITHOUT, r"makes pictures by captions, the data have none; change data\.name"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **config}, data)


def built() -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model(SMALL, signature()).eval()


def sampled(model: Any, caption: Tensor, *, seed: int = 3, **options: Any) -> Tensor:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        made: Tensor = model.sample(len(caption), {"caption": caption}, generator=generator, options=options)
    return made


def test_a_sample_depends_on_seed_caption_and_options_alone() -> None:
    model, caption = built(), torch.tensor([[3, 2, 0], [4, 2, 0], [3, 4, 2]])
    first = sampled(model, caption)
    torch.manual_seed(99)
    assert first.shape == (3, 3, 4, 4) and torch.equal(first, sampled(model, caption)) and first.abs().max() <= 1
    for changed in ({"seed": 4}, {"temperature": 0}, {"top_k": 1}):
        assert not torch.equal(first, sampled(model, caption, **changed)), changed
    likeliest = sampled(model, caption, temperature=0)
    assert torch.equal(likeliest, sampled(model, caption, top_k=1)), "of one token there is nothing to draw"
    assert torch.equal(likeliest, sampled(model, caption, temperature=0, seed=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "unknown option 'steps'; allowed: temperature"),
        ({"temperature": -1}, "temperature must be at least 0 and finite, got -1"),
        ({"temperature": math.nan}, "temperature must be at least 0 and finite, got nan"),
        ({"temperature": math.inf}, "temperature must be at least 0 and finite, got inf"),
        ({"temperature": "hot"}, "option temperature is 'hot'; allowed: 0, the likeliest token, or more"),
        ({"top_k": 1.5}, "option top_k is 1.5; allowed: a whole number"),
        ({"top_p": 2.0}, "top_p must be above 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampled(built(), batch()["caption"], **options)


def test_what_is_drawn_is_what_the_whole_row_says() -> None:
    """The likeliest token at each place, read from the cache, is that of one pass over the whole row."""
    model, caption = built(), batch(4)["caption"]
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(8.0)  # far from even odds
        codes = torch.zeros(4, 4, dtype=torch.int64)
        for place in range(4):
            codes[:, place] = model.logits(caption, codes)[1][:, place].argmax(-1)
        wanted = model.autoencoder.pictures(codes)
    assert torch.equal(sampled(model, caption, temperature=0), wanted)


def test_nothing_of_a_token_reaches_what_is_before_it() -> None:
    model, caption = built(), batch(1)["caption"]
    codes = torch.tensor([[1, 2, 3, 4]])
    other = torch.tensor([[1, 2, 5, 4]])
    with torch.no_grad():
        (text, first), (same, second) = model.logits(caption, codes), model.logits(caption, other)
    assert text.shape == (1, 3, 5) and first.shape == (1, 4, 6)
    assert torch.equal(text, same) and torch.equal(first[:, :3], second[:, :3])
    assert not torch.equal(first[:, 3], second[:, 3])


def test_the_bound_of_equally_likely_codes_and_of_certain_ones() -> None:
    codes, picture = built().autoencoder, batch(2)["image"]
    with torch.no_grad():
        codes.encoder[-1].weight.zero_()
        codes.encoder[-1].bias.zero_()
        assert codes.relaxed(picture, 1.0).kl.abs().max() < 1e-4
        codes.encoder[-1].bias[2] = 50.0
        found = codes.relaxed(picture, 1.0)
        assert torch.allclose(found.kl, torch.full((2,), 4 * math.log(6)))
        assert torch.allclose(found.reconstruction, codes.relaxed(picture, 0.0).reconstruction), "left to no chance"
        # With a mean of logit(s) everywhere and a scale of 1, the Laplace density of each number is 1/2.
        codes.decoder[-1].weight.zero_()
        spread = (0.1 + 0.8 * (picture[0, 0, 0, 0] + 1) / 2).logit()
        codes.decoder[-1].bias.copy_(torch.cat([spread.expand(3), torch.zeros(3)]))
        assert float(codes.relaxed(picture, 0.0).reconstruction[0]) == pytest.approx(48 * math.log(2), rel=1e-5)
        assert torch.allclose(codes.pictures(codes.tokens(picture))[0], picture[0], atol=1e-5)


def test_the_normal_density_counts_far_off_pixels_for_more() -> None:
    torch.manual_seed(0)
    codes: Any = ARCHITECTURE.build_model({**SMALL, "likelihood": "normal"}, signature()).eval().autoencoder
    picture = batch(1)["image"]
    spread = (0.1 + 0.8 * (picture[0, 0, 0, 0] + 1) / 2).logit()
    with torch.no_grad():
        codes.decoder[-1].weight.zero_()
        found = []
        for off in (0.0, 1.0, 2.0):
            codes.decoder[-1].bias.copy_(torch.cat([(spread + off).expand(3), torch.zeros(3)]))
            found.append(float(codes.relaxed(picture, 0.0).reconstruction[0]) / 48)
    constant = math.log(2 * math.pi) / 2
    assert found == pytest.approx([constant, constant + 0.5, constant + 2.0], rel=1e-5)


def stepped(module: Any, start: int, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training as Lightning does it, which counts the steps."""
    optimizer = module.configure_optimizers()["optimizer"]
    torch.manual_seed(1)
    for step in range(start, end):
        monkeypatch.setattr(type(module), "global_step", step)
        optimizer.zero_grad()
        module.training_step(batch(), 0).backward()
        module.configure_gradient_clipping(optimizer, 1.0)
        optimizer.step()


def test_codes_are_learnt_first_and_captions_then(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 160, "optimizer": {"lr": 1e-2}})
    assert module.temperature == 1
    stepped(module, 0, 60, monkeypatch)
    assert set(module.parts) == {"reconstruction", "kl"}
    codes = {name: tensor.clone() for name, tensor in module.model.autoencoder.state_dict().items()}
    stepped(module, 60, 160, monkeypatch)
    assert module.temperature == pytest.approx(1 / 16) and set(module.parts) == {"text", "picture"}
    assert all(torch.equal(tensor, codes[name]) for name, tensor in module.model.autoencoder.state_dict().items())
    module.eval()
    wanted = batch()["image"].mean((1, 2, 3))
    made = sampled(module.model, batch()["caption"]).mean((1, 2, 3))
    assert (made - wanted).abs().max() < 0.3


def test_validation_is_the_same_every_time_and_has_both_stages() -> None:
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 100}).eval()
    with torch.no_grad():
        first, again = (module.validation_step(batch(), 0) for _ in range(2))
    assert torch.equal(first["loss_sum"], again["loss_sum"]) and first["count"] == 8
    parts = first["parts"]
    total = parts["reconstruction"] + 0.1 * parts["kl"] + parts["text"] / 8 + parts["picture"] * 7 / 8
    assert float(total) == pytest.approx(float(first["loss_sum"]), rel=1e-5)
