"""From noise to samples: how many steps, how much fresh noise, how strongly the condition is followed."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from forgeline_architectures.diffusion.config import DiffusionConfig
from forgeline_architectures.diffusion.noise_schedule import CLEAN, NoiseSchedule
from forgeline_architectures.tasks.generation import check_options

STRENGTH = 0.8  # of a changed picture, as diffusers has it where nothing is said
Rows = Mapping[str, Tensor]
Predictor = Callable[[Tensor, Tensor], Tensor]  # noisy pictures and their times -> what the network says


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How a sample is drawn.

    Attributes:
        steps: from pure noise to the picture.
        eta: 0 for DDIM, 1 for DDPM.
        guidance: weight of the condition; 1 follows it plainly.
    """

    steps: int
    eta: float
    guidance: float

    @classmethod
    def of(cls, options: Mapping[str, Any], config: DiffusionConfig, *, conditioned: bool = True) -> Walk:
        """What the options ask for, the config for the rest.

        Args:
            options: as given.
            config: of the model.
            conditioned: whether it has conditions, which guidance could follow.

        Raises:
            ValueError: an option is unknown or out of range.
        """
        most = config.timesteps
        guidable = conditioned and config.unconditional > 0
        why_not = "architecture.unconditional is 0" if conditioned else "the model has no condition"
        allowed = {
            "steps": f"a whole number from 1 to {most}",
            "eta": "a number from 0, DDIM, to 1, DDPM",
            "guidance": "a number of 0 or more" if guidable else f"1, as {why_not}",
        }
        check_options(options, allowed)
        steps, eta = options.get("steps", config.steps or most), options.get("eta", config.eta)
        guidance = options.get("guidance", config.guidance)
        fine = {
            "steps": _number(steps) and steps == int(steps) and 1 <= steps <= most,
            "eta": _number(eta) and 0 <= eta <= 1,
            "guidance": "guidance" not in options
            or (_number(guidance) and (guidance == 1 or (guidance >= 0 and guidable))),
        }
        for name, is_fine in fine.items():
            if not is_fine:
                raise ValueError(f"option {name} is {options[name]!r}; allowed: {allowed[name]}")
        return cls(steps=int(steps), eta=float(eta), guidance=float(guidance))

    @classmethod
    def partial(cls, options: Mapping[str, Any], config: DiffusionConfig) -> tuple[float, Walk]:
        """How far a picture is taken back to noise, `strength`, and the walk whose last part leads on from there.

        Raises:
            ValueError: an option is unknown or out of range.
        """
        strength = options.get("strength", STRENGTH)
        if not (_number(strength) and 0 < strength <= 1):
            raise ValueError(f"option strength is {strength!r}; allowed: a number above 0, up to 1 for noise alone")
        rest = {name: value for name, value in options.items() if name != "strength"}
        return float(strength), cls.of(rest, config)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def guided(
    network: Callable[[Tensor, Tensor, Rows], Tensor], condition: Rows, nothing: Rows, guidance: float
) -> Predictor:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6, with the weight 1 + w).

    Args:
        network: takes noisy pictures, their times and conditions.
        condition: rows of each condition.
        nothing: the same where nothing is asked for.
        guidance: 1 takes the network at its word; more goes further away from what it says without a condition.
    """
    if guidance == 1 or not condition:
        return lambda noisy, time: network(noisy, time, condition)
    both = {name: torch.cat([rows, nothing[name]]) for name, rows in condition.items()}

    def predict(noisy: Tensor, time: Tensor) -> Tensor:
        asked, free = network(torch.cat([noisy, noisy]), torch.cat([time, time]), both).chunk(2)
        return free + guidance * (asked - free)

    return predict


def denoised(
    predict: Predictor,
    schedule: NoiseSchedule,
    noisy: Float[Tensor, batch * sample],
    *,
    times: Sequence[int],
    eta: float,
    generator: torch.Generator,
    limit: Callable[[Tensor], Tensor],
) -> Float[Tensor, batch * sample]:
    """Clean pictures out of noisy ones.

    Args:
        predict: what the network says.
        schedule: of the noise.
        noisy: pictures at the first of the times.
        times: those to go through, falling.
        eta: share of fresh noise.
        generator: of the fresh noise.
        limit: brings the clean pictures that the network means back into the range of pictures, in every step.
    """
    for now, then in pairwise([*times, CLEAN]):
        time = torch.full((len(noisy),), now, device=noisy.device)
        clean = limit(schedule.clean(predict(noisy, time), noisy, time))
        fresh = standard_noise(noisy, generator) if eta and then != CLEAN else None
        noisy = schedule.step(noisy, clean, now=now, then=then, eta=eta, fresh=fresh)
    return noisy


def standard_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gaussian noise of a tensor's shape; torch's own random numbers when there is no generator."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def clipped(clean: Tensor) -> Tensor:
    """Pictures with every number brought into -1 to 1."""
    return clean.clamp(-1, 1)


def thresholded(share: float) -> Callable[[Tensor], Tensor]:
    """Dynamic thresholding: pictures clipped where a share of their own numbers lies within, and brought into -1 to 1.

    Saharia et al. 2022 (arXiv:2205.11487), section 2.3: strong guidance drives numbers out of the range of pictures,
    and clipping at -1 and 1 would saturate them. A picture whose numbers lie within it already stays as it is.
    """

    def limit(clean: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        edge = clean.abs().flatten(1).float().quantile(share, dim=1).clamp(min=1).to(clean.dtype).view(-1, 1, 1, 1)
        return clean.clamp(-edge, edge) / edge

    return limit
