"""How samples are drawn: options, guidance; and how a batch is learnt from: times, conditions left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.diffusion.config import DiffusionConfig
from forgeline_architectures.diffusion.learning import denoising_errors, partly_dropped, spread_times
from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.diffusion.sampling import Walk, guided, thresholded

CONFIG = DiffusionConfig(name="x", timesteps=100, steps=50, eta=0.5, guidance=2.0)


def test_options_come_before_the_config() -> None:
    assert Walk.of({}, CONFIG) == Walk(steps=50, eta=0.5, guidance=2.0)
    assert Walk.of({"steps": 20.0, "eta": 0, "guidance": 1}, CONFIG) == Walk(steps=20, eta=0.0, guidance=1.0)
    assert Walk.of({}, DiffusionConfig(name="x", timesteps=7)).steps == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepps": 1}, r"unknown option 'stepps'; allowed: steps \(a whole number from 1 to 100\), eta .*guidance"),
        ({"steps": 0}, "option steps is 0; allowed: a whole number from 1 to 100"),
        ({"steps": 101}, "option steps is 101"),
        ({"steps": 1.5}, r"option steps is 1\.5"),
        ({"steps": "many"}, "option steps is 'many'"),
        ({"eta": 1.5}, r"option eta is 1\.5; allowed: a number from 0, DDIM, to 1, DDPM"),
        ({"eta": True}, "option eta is True"),
        ({"guidance": -1}, "option guidance is -1; allowed: a number of 0 or more"),
        ({"guidance": float("nan")}, "option guidance is nan"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Walk.of(options, CONFIG)


def test_guidance_is_refused_where_nothing_was_left_out() -> None:
    config = DiffusionConfig(name="x", unconditional=0)
    with pytest.raises(ValueError, match=r"option guidance is 2; allowed: 1, as architecture\.unconditional is 0"):
        Walk.of({"guidance": 2}, config)
    with pytest.raises(ValueError, match=r"set architecture\.unconditional above 0"):
        DiffusionConfig(name="x", unconditional=0, guidance=2)


def test_more_steps_than_timesteps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"steps 11 is more than the 10 timesteps; change architecture\.steps"):
        DiffusionConfig(name="x", timesteps=10, steps=11)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_goes_from_the_unconditional_through_the_conditional(guidance: float) -> None:
    def network(noisy: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return noisy * time[:, None] + condition["label"][:, None]

    label, noisy, time = torch.tensor([3.0, 5.0]), torch.randn(2, 4), torch.tensor([2.0, 7.0])
    nothing = {"label": torch.tensor([1.0, 1.0])}
    said = guided(network, {"label": label}, nothing, guidance)(noisy, time)
    asked, free = network(noisy, time, {"label": label}), network(noisy, time, nothing)
    torch.testing.assert_close(said, free + guidance * (asked - free))


def test_times_are_spread_over_all_and_uniform_each() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([spread_times(10, 100, device=torch.device("cpu"), generator=generator) for _ in range(2000)])
    assert drawn.min() == 0 and drawn.max() == 99
    gaps = drawn.sort(1).values.diff(dim=1)
    assert gaps.min() >= 9 and gaps.max() <= 11
    assert (drawn.float().mean(0) - 49.5).abs().max() < 3


def test_the_error_of_a_perfect_network_is_nothing() -> None:
    schedule = NoiseSchedule("cosine", timesteps=50, prediction="v")
    clean = torch.randn(6, 2, 4, 4)

    def network(noisy: Tensor, time: Tensor) -> Tensor:
        signal, amount = schedule.at(time, noisy)
        return signal * (noisy - signal * clean) / amount - amount * clean

    errors = denoising_errors(network, schedule, clean, generator=torch.Generator().manual_seed(0))
    assert errors.shape == (6,) and errors.max() < 1e-6
    zero = denoising_errors(
        lambda noisy, time: torch.zeros_like(noisy), schedule, clean, generator=torch.Generator().manual_seed(0)
    )
    assert zero.min() > 0.1


def test_conditions_are_left_out_by_row() -> None:
    torch.manual_seed(0)
    condition = {"caption": torch.ones(2000, 3, dtype=torch.int64), "label": torch.ones(2000, dtype=torch.int64)}
    nothing = {name: torch.zeros_like(rows) for name, rows in condition.items()}
    left = partly_dropped(condition, nothing, 0.25)
    assert torch.equal(left["caption"].amax(1), left["caption"].amin(1))
    assert torch.equal(left["caption"][:, 0], left["label"])
    assert left["label"].float().mean() == pytest.approx(0.75, abs=0.04)
    assert partly_dropped(condition, nothing, 0.0)["label"].min() == 1 and partly_dropped({}, {}, 0.5) == {}


def test_dynamic_thresholding_keeps_what_is_within_and_scales_what_is_not() -> None:
    inside, outside = torch.linspace(-0.9, 0.9, 16), torch.linspace(-4.0, 4.0, 16)
    limited = thresholded(1.0)(torch.stack([inside, outside]).view(2, 1, 4, 4)).flatten(1)
    assert torch.equal(limited[0], inside) and torch.allclose(limited[1], outside / 4)
    most = thresholded(0.5)(outside.view(1, 1, 4, 4)).flatten()
    edge = outside.abs().quantile(0.5)
    assert torch.allclose(most, (outside / edge).clamp(-1, 1)) and int((most.abs() == 1).sum()) == 8
