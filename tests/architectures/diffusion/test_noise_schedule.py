"""The noise schedule and its steps against the schedulers of diffusers."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule, variances
from forgeline_architectures.diffusion.sampling import clipped, denoised, standard_noise

THEIRS = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
RANGE = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012), "cosine": (1e-4, 0.02)}
SHAPE = (3, 1, 4, 4)


def arguments(name: str, prediction: str) -> dict[str, Any]:
    first, last = RANGE[name]
    return {
        "num_train_timesteps": 1000,
        "beta_schedule": THEIRS[name],
        "beta_start": first,
        "beta_end": last,
        "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[prediction],
        "timestep_spacing": "trailing",
    }


def network(noisy: Tensor, time: Tensor) -> Tensor:
    """In place of a network: any smooth function of picture and time."""
    return torch.sin(noisy + time.view(-1, 1, 1, 1) / 100)


@pytest.mark.parametrize("name", THEIRS)
def test_variances_are_those_of_diffusers(name: str) -> None:
    theirs = DDPMScheduler(**arguments(name, "epsilon")).betas
    torch.testing.assert_close(variances(name, 1000).float(), theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", THEIRS)
def test_noisy_pictures_and_targets_are_those_of_diffusers(name: str) -> None:
    theirs = DDPMScheduler(**arguments(name, "v"))
    schedule = NoiseSchedule(name, timesteps=1000, prediction="v")
    clean, noise, time = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 400, 999])
    noisy, target = schedule.noisy(clean, noise, time), schedule.target(clean, noise, time)
    torch.testing.assert_close(noisy, theirs.add_noise(clean, noise, time), rtol=0, atol=1e-4)
    torch.testing.assert_close(target, theirs.get_velocity(clean, noise, time), rtol=0, atol=1e-4)
    torch.testing.assert_close(schedule.clean(target, noisy, time), clean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", THEIRS)
def test_the_noise_alone_tells_the_picture(name: str) -> None:
    schedule = NoiseSchedule(name, timesteps=1000, prediction="epsilon")
    clean, noise, time = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 400, 900])
    assert schedule.target(clean, noise, time) is noise
    torch.testing.assert_close(
        schedule.clean(noise, schedule.noisy(clean, noise, time), time), clean, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("steps", [1, 20, 1000])
def test_times_are_those_of_diffusers(steps: int) -> None:
    theirs = DDIMScheduler(**arguments("linear", "epsilon"))
    theirs.set_timesteps(steps)
    times = NoiseSchedule("linear", timesteps=1000, prediction="epsilon").times(steps)
    assert times == theirs.timesteps.tolist() and times[0] == 999


def chained(scheduler: Any, steps: int, noisy: Tensor, **given: Any) -> Tensor:
    """Samples by a scheduler of diffusers."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(7)
    for time in scheduler.timesteps:
        said = network(noisy, time.expand(len(noisy)))
        noisy = scheduler.step(said, time, noisy, generator=generator, return_dict=False, **given)[0]
    return noisy


def ours(name: str, prediction: Literal["epsilon", "v"], steps: int, eta: float, noisy: Tensor) -> Tensor:
    schedule = NoiseSchedule(name, timesteps=1000, prediction=prediction)
    return denoised(
        network,
        schedule,
        noisy,
        times=schedule.times(steps),
        eta=eta,
        generator=torch.Generator().manual_seed(7),
        limit=clipped,
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("steps", [10, 100])
def test_ddpm_is_that_of_diffusers(name: str, prediction: Literal["epsilon", "v"], steps: int) -> None:
    noisy = torch.randn(SHAPE)
    theirs = chained(DDPMScheduler(**arguments(name, prediction), variance_type="fixed_small"), steps, noisy)
    torch.testing.assert_close(ours(name, prediction, steps, 1.0, noisy), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("eta", [0.0, 0.4])
def test_ddim_is_that_of_diffusers(name: str, prediction: Literal["epsilon", "v"], eta: float) -> None:
    noisy = torch.randn(SHAPE)
    # The direction is taken from the clipped picture: only so is a step's noise that of its time.
    scheduler = DDIMScheduler(**arguments(name, prediction))
    theirs = chained(scheduler, 20, noisy, eta=eta, use_clipped_model_output=True)
    torch.testing.assert_close(ours(name, prediction, 20, eta, noisy), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_fewer_timesteps_end_in_noise_too(name: str) -> None:
    """Unscaled variances would leave more than half of the picture after 100 steps."""
    for timesteps in (1000, 100, 20):
        assert NoiseSchedule(name, timesteps=timesteps, prediction="epsilon").signal[-1] < 0.1


def test_the_schedule_is_no_part_of_the_weights() -> None:
    assert NoiseSchedule("linear", timesteps=10, prediction="v").state_dict() == {}


def test_noise_comes_from_the_generator() -> None:
    like = torch.empty(2, 3)
    first, second = (standard_noise(like, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
