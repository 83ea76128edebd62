"""DDPM: the paper's size, what does not fit, what a sample depends on, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.ddpm import ARCHITECTURE

SMALL = {"name": "ddpm", "widths": [8, 16], "blocks": 1, "attention": [], "groups": 4, "dropout": 0.0, "timesteps": 50}


def signature(channels: int = 1, side: int = 4, classes: int | None = 2) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": "generation",
        "inputs": {"image": {"shape": [channels, side, side], "dtype": "float32"}},
        "outputs": [channels, side, side],
    }
    if classes is not None:
        found["inputs"]["label"] = {"shape": [], "dtype": "int64"}
        found["conditions"] = {"label": classes}
    return found


OBLONG = {"task": "generation", "inputs": {"image": {"shape": [1, 4, 6], "dtype": "float32"}}, "outputs": [1, 4, 6]}


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_paper_for_cifar10() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "ddpm"}, signature(3, 32, None))
        conditional = ARCHITECTURE.build_model({"name": "ddpm"}, signature(3, 32, 10))
    assert parameters(model) == 35_746_307
    assert parameters(conditional) == 35_746_307 + 11 * 4 * 128  # a row for each class, and one for none


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({"groups": 3}, signature(), r"groups 3 does not divide the width 8; change architecture\.groups"),
        ({"widths": [8, 8, 8, 8]}, signature(), r"a side of 4 pixels does not allow .*multiple of 8.*data\.size"),
        ({}, OBLONG, r"must be square .*got \[1, 4, 6\]; change data\.size"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **config}, data)


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model({**SMALL, **config}, signature()).eval()


def sampled(model: Any, label: Tensor, *, seed: int = 3, **options: Any) -> Tensor:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        made: Tensor = model.sample(len(label), {"label": label}, generator=generator, options=options)
    return made


def test_a_sample_depends_on_seed_class_and_options_alone() -> None:
    model, label = built(), torch.tensor([0, 1, 0])
    first = sampled(model, label, steps=5)
    torch.manual_seed(99)
    assert first.shape == (3, 1, 4, 4) and torch.equal(first, sampled(model, label, steps=5))
    for changed in ({"seed": 4}, {"eta": 0}, {"steps": 6}, {"guidance": 3}):
        assert not torch.equal(first, sampled(model, label, **{"steps": 5, **changed}))
    assert not torch.equal(first, sampled(model, 1 - label, steps=5))
    assert first.abs().max() <= 1


def test_guidance_compares_with_the_row_for_no_class() -> None:
    model, label = built(), torch.tensor([0, 1])
    before = sampled(model, label, steps=3, guidance=2), sampled(model, label, steps=3)
    with torch.no_grad():
        model.network.class_embedding.weight[2] += 1.0
    assert not torch.equal(before[0], sampled(model, label, steps=3, guidance=2))
    assert torch.equal(before[1], sampled(model, label, steps=3))


def test_without_classes_it_makes_whatever_it_likes() -> None:
    model: Any = ARCHITECTURE.build_model(SMALL, signature(classes=None)).eval()
    with torch.no_grad():
        made = model.sample(2, {}, generator=torch.Generator().manual_seed(0), options={"steps": 3, "guidance": 1})
    assert made.shape == (2, 1, 4, 4)


def test_without_classes_there_is_nothing_to_guide() -> None:
    model: Any = ARCHITECTURE.build_model(SMALL, signature(classes=None)).eval()
    with pytest.raises(ValueError, match="option guidance is 2; allowed: 1, as the model has no condition"):
        model.sample(2, {}, generator=torch.Generator(), options={"guidance": 2})


def test_validation_is_the_same_every_time() -> None:
    module: Any = ARCHITECTURE.build_module(SMALL, signature(), {"total_steps": 1}).eval()
    batch = {"image": torch.randn(6, 1, 4, 4), "label": torch.arange(6) % 2}
    with torch.no_grad():
        first, again = (module.validation_step(batch, 0) for _ in range(2))
        other = module.validation_step(batch, 1)
    assert torch.equal(first["loss_sum"], again["loss_sum"]) and first["count"] == 6
    assert not torch.equal(first["loss_sum"], other["loss_sum"])


@pytest.mark.parametrize(("schedule", "prediction"), [("linear", "epsilon"), ("cosine", "v")])
def test_it_learns_what_its_classes_look_like(schedule: str, prediction: str) -> None:
    """Class 0 is dark at the left and bright at the right, class 1 the other way round."""
    torch.manual_seed(0)
    config = {**SMALL, "widths": [16], "schedule": schedule, "prediction": prediction}
    module: Any = ARCHITECTURE.build_module(config, signature(), {"total_steps": 120, "optimizer": {"lr": 5e-3}})
    optimizer = module.configure_optimizers()["optimizer"]
    ramp = torch.linspace(-0.8, 0.8, 4).expand(1, 4, 4)
    label = torch.arange(16) % 2
    pictures = torch.stack([ramp if kind == 0 else -ramp for kind in label.tolist()])
    for _ in range(120):
        optimizer.zero_grad()
        module.training_step({"image": pictures, "label": label}, 0).backward()
        optimizer.step()
    module.eval()
    for options in ({"eta": 1.0}, {"eta": 0.0, "steps": 20}, {"eta": 0.0, "steps": 20, "guidance": 2.0}):
        made = sampled(module.model, label, **options)
        own, other = ((made - sign * pictures).abs().mean((1, 2, 3)) for sign in (1, -1))
        assert bool((own < other).all()) and own.mean() < 0.3, options
