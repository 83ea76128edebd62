"""Config of the fully connected GANs; what is not given follows the paper of the name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

# Gulrajani et al. 2017, algorithm 1. Radford et al. 2016 (arXiv:1511.06434, section 4) found beta 0.5 for the others.
PENALTY = {"gan": 0.0, "wgan_gp": 10.0}
DISCRIMINATOR_STEPS = {"gan": 1, "wgan_gp": 5}
BETAS = {"gan": (0.5, 0.999), "wgan_gp": (0.0, 0.9)}


class GANConfig(ArchitectureConfig):
    """Loss and size of the two networks; classes come from the data."""

    name: Literal["gan", "wgan_gp"] = Field(
        description="The loss: non-saturating (`gan`), or Wasserstein's with gradient penalty (`wgan_gp`)."
    )
    latent: PositiveInt = Field(default=64, description="Numbers of the noise that a sample is made of.")
    hidden: tuple[PositiveInt, ...] = Field(
        default=(128, 128, 128), min_length=1, description="Units of each hidden layer, of both networks."
    )
    penalty: NonNegativeFloat | None = Field(
        default=None,
        description="Weight of the penalty: R1 on data for `gan` (0 when not given: none), of gradients whose norm is "
        "not 1 for `wgan_gp` (10 when not given).",
    )
    discriminator_steps: PositiveInt | None = Field(
        default=None,
        description="Batches for each step of the generator; when not given, 1 for `gan` and 5 for `wgan_gp`.",
    )

    @property
    def penalty_weight(self) -> float:
        """Weight of R1 or of the gradient penalty."""
        return PENALTY[self.name] if self.penalty is None else self.penalty

    @property
    def batches_per_step(self) -> int:
        """Batches that the discriminator learns from for one that the generator does."""
        return DISCRIMINATOR_STEPS[self.name] if self.discriminator_steps is None else self.discriminator_steps

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's, of both optimisers."""
        return BETAS[self.name]

    def check(self, signature: Signature) -> None:
        """Compare model and data.

        Raises:
            ValueError: samples are told by something else than a label.
        """
        strange = sorted(set(signature.conditions) - {"label"})
        if strange:
            raise ValueError(
                f"{self.name} takes the condition label, got {', '.join(strange)}; change architecture.name or "
                "data.condition"
            )


def names() -> tuple[str, ...]:
    """The losses by name."""
    return tuple(PENALTY)
