"""How a picture becomes noise, and one step of the way back, by DDPM or DDIM.

A picture x at time t is signal[t] * picture + noise[t] * Gaussian noise, with signal² + noise² = 1. DDPM's ancestral
step (Ho et al. 2020, arXiv:2006.11239, eq. 7, variance beta-tilde) is DDIM's (Song et al. 2021, arXiv:2010.02502,
eq. 12) at eta = 1, so there is one step. Computed in float64: 1 - signal² of the first steps is lost in float32.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

CLEAN = -1  # the time before the first, when nothing is noisy
# Variance added in the first and in the last of 1,000 steps: Ho et al. 2020, section 4.
FIRST_BETA, LAST_BETA = 1e-4, 0.02
# The same for Stable Diffusion, linear in the square root (Rombach et al. 2022, published configs).
FIRST_LATENT_BETA, LAST_LATENT_BETA = 0.00085, 0.012
# Nichol & Dhariwal 2021 (arXiv:2102.09672), section 3.2: offset and largest variance of a step.
COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999
_THEIRS = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
_ENDS = {
    "linear": (FIRST_BETA, LAST_BETA),
    "scaled_linear": (FIRST_LATENT_BETA, LAST_LATENT_BETA),
    "cosine": (FIRST_BETA, LAST_BETA),  # which it does not look at
}


def variances(name: str, timesteps: int) -> Float[Tensor, " timesteps"]:
    """Variance that each step adds (beta), in float64.

    Those of a linear schedule are scaled by 1000 / timesteps, so that the last step is as noisy with fewer of them.
    """
    if name == "cosine":
        angle = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64) + COSINE_OFFSET
        left = (angle / (1 + COSINE_OFFSET) * math.pi / 2).cos() ** 2
        return (1 - left[1:] / left[:-1]).clamp(max=LARGEST_BETA)
    scale = 1000 / timesteps
    if name == "scaled_linear":
        first, last = (math.sqrt(scale * beta) for beta in (FIRST_LATENT_BETA, LAST_LATENT_BETA))
        betas = torch.linspace(first, last, timesteps, dtype=torch.float64) ** 2
    else:
        betas = torch.linspace(scale * FIRST_BETA, scale * LAST_BETA, timesteps, dtype=torch.float64)
    return betas.clamp(max=LARGEST_BETA)


class NoiseSchedule(nn.Module):
    """Signal and noise at each time, and what a network's prediction says.

    Attributes:
        timesteps: their number; times are 0 to timesteps - 1, and -1 for a clean picture.
        prediction: `epsilon` (the noise), or `v` = signal * noise - noise * picture (Salimans & Ho 2022,
            arXiv:2202.00512, appendix D).
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, name: str, *, timesteps: int, prediction: Literal["epsilon", "v"]) -> None:
        super().__init__()
        self.name = name
        self.timesteps = timesteps
        self.prediction = prediction
        kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - variances(name, timesteps)).cumprod(0)])
        # Computed anew with every model, so no part of its weights; the first entry is the clean picture's.
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)

    @property
    def for_diffusers(self) -> dict[str, Any]:
        """The same as a scheduler's config of diffusers."""
        first, last = _ENDS[self.name]
        scale = 1 if self.name == "cosine" else 1000 / self.timesteps
        return {
            "num_train_timesteps": self.timesteps,
            "beta_schedule": _THEIRS[self.name],
            "beta_start": scale * first,
            "beta_end": scale * last,
            "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[self.prediction],
            "timestep_spacing": "trailing",
            "clip_sample": True,
        }

    def times(self, steps: int) -> list[int]:
        """The times that a sample of so many steps goes through, from pure noise on.

        The last time is always among them ("trailing" spacing): sampling begins with pure noise, and at no other time
        has the network seen it (Lin et al. 2024, arXiv:2305.08891, section 3.3).
        """
        return [round(self.timesteps * (steps - step) / steps) - 1 for step in range(steps)]

    def at(self, time: Int[Tensor, " batch"], like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise, each [batch, 1, ...] to go with `like`."""
        shape = (-1, *[1] * (like.ndim - 1))
        return self.signal[time + 1].view(shape), self.noise[time + 1].view(shape)

    def noisy(
        self, clean: Float[Tensor, batch * sample], noise: Float[Tensor, batch * sample], time: Int[Tensor, " batch"]
    ) -> Float[Tensor, batch * sample]:
        """Pictures at a time (Ho et al., eq. 4)."""
        signal, amount = self.at(time, clean)
        return signal * clean + amount * noise

    def target(
        self, clean: Float[Tensor, batch * sample], noise: Float[Tensor, batch * sample], time: Int[Tensor, " batch"]
    ) -> Float[Tensor, batch * sample]:
        """What the network should say."""
        if self.prediction == "epsilon":
            return noise
        signal, amount = self.at(time, clean)
        return signal * noise - amount * clean

    def clean(
        self, said: Float[Tensor, batch * sample], noisy: Float[Tensor, batch * sample], time: Int[Tensor, " batch"]
    ) -> Float[Tensor, batch * sample]:
        """The clean pictures that the network's word stands for."""
        signal, amount = self.at(time, noisy)
        if self.prediction == "epsilon":
            return (noisy - amount * said) / signal
        return signal * noisy - amount * said

    def step(
        self,
        noisy: Float[Tensor, batch * sample],
        clean: Float[Tensor, batch * sample],
        *,
        now: int,
        then: int,
        eta: float,
        fresh: Float[Tensor, batch * sample] | None = None,
    ) -> Float[Tensor, batch * sample]:
        """From one time to an earlier one (Song et al., eq. 12; their sigma is eq. 16).

        Args:
            noisy: pictures at the time `now`.
            clean: what they are taken to be without noise, limited to what pictures can be.
            now: a time.
            then: an earlier one, -1 for the clean picture.
            eta: 0 adds no noise (DDIM), 1 as much as DDPM.
            fresh: Gaussian noise; needed where eta is above 0.
        """
        signal_now, noise_now = self.signal[now + 1], self.noise[now + 1]
        signal_then, noise_then = self.signal[then + 1], self.noise[then + 1]
        direction = (noisy - signal_now * clean) / noise_now
        if eta == 0 or then == CLEAN:
            return signal_then * clean + noise_then * direction
        assert fresh is not None
        sigma = eta * noise_then / noise_now * (1 - (signal_now / signal_then) ** 2).sqrt()
        kept = (noise_then**2 - sigma**2).clamp(min=0).sqrt()
        return signal_then * clean + kept * direction + sigma * fresh
