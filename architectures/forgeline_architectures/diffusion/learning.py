"""The denoising loss, and conditions left out at random so that guidance has something to compare with."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.diffusion.sampling import Predictor, standard_noise


def spread_times(
    count: int, timesteps: int, *, device: torch.device, generator: torch.Generator | None
) -> Int[Tensor, " count"]:
    """Times for a batch, evenly spread from one random start: each is uniform, and their loss varies less.

    Kingma et al. 2021 (arXiv:2107.00630), appendix I.1.
    """
    start = torch.rand(1, generator=generator, device=device)
    share = (start + torch.arange(count, device=device) / count) % 1
    return (share * timesteps).long().clamp(max=timesteps - 1)


def denoising_errors(
    predict: Predictor,
    schedule: NoiseSchedule,
    clean: Float[Tensor, batch * sample],
    *,
    generator: torch.Generator | None,
) -> Float[Tensor, " batch"]:
    """Mean squared error of what the network says, per sample (Ho et al. 2020, arXiv:2006.11239, eq. 14)."""
    time = spread_times(len(clean), schedule.timesteps, device=clean.device, generator=generator)
    noise = standard_noise(clean, generator)
    said = predict(schedule.noisy(clean, noise, time), time)
    return (said.float() - schedule.target(clean, noise, time)).square().flatten(1).mean(1)


def partly_dropped(condition: Mapping[str, Tensor], nothing: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Conditions with a random share of the rows replaced by nothing, all conditions of a row together."""
    if not condition or share == 0:
        return dict(condition)
    rows = next(iter(condition.values()))
    dropped = torch.rand(len(rows), device=rows.device) < share
    return {
        name: torch.where(dropped.view(-1, *[1] * (values.ndim - 1)), nothing[name], values)
        for name, values in condition.items()
    }
