"""Config of the fully connected GANs; what is not given follows the paper of the name."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

# Gulrajani et al. 2017, algorithm 1. Radford et al. 2016 (arXiv:1511.06434, section 4) found beta 0.5 for the others.
# Momentum unsettles a clipped critic too (Arjovsky et al. 2017, section 4.3).
PENALTY = {"gan": 0.0, "wgan": 0.0, "wgan_gp": 10.0}
DISCRIMINATOR_STEPS = {"gan": 1, "wgan": 5, "wgan_gp": 5}
BETAS = {"gan": (0.5, 0.999), "wgan": (0.0, 0.9), "wgan_gp": (0.0, 0.9)}
CLIP = 0.01  # Arjovsky et al. 2017, algorithm 1


class GANConfig(ArchitectureConfig):
    """Loss and size of the two networks; classes come from the data."""

    name: Literal["gan", "wgan", "wgan_gp"] = Field(
        description="The loss: non-saturating (`gan`), or Wasserstein's with clipped weights (`wgan`) or with gradient "
        "penalty (`wgan_gp`)."
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
    clip: PositiveFloat | None = Field(
        default=None,
        description="Largest absolute weight of the critic, for `wgan` alone; 0.01 when not given. A smaller one holds "
        "the critic flatter, and what it says grows fainter with every layer.",
    )
    discriminator_steps: PositiveInt | None = Field(
        default=None,
        description="Batches for each step of the generator; when not given, 1 for `gan`, 5 for `wgan` and `wgan_gp`.",
    )

    @model_validator(mode="after")
    def _bounded_in_one_way(self) -> Self:
        if self.clip is not None and self.name != "wgan":
            raise ValueError(f"clip {self.clip} is for wgan, not for {self.name}; remove architecture.clip")
        if self.penalty is not None and self.name == "wgan":
            raise ValueError(
                f"penalty {self.penalty} is for gan and wgan_gp; wgan has architecture.clip: remove "
                "architecture.penalty, or change architecture.name to wgan_gp"
            )
        return self

    @property
    def penalty_weight(self) -> float:
        """Weight of R1 or of the gradient penalty."""
        return PENALTY[self.name] if self.penalty is None else self.penalty

    @property
    def weight_limit(self) -> float | None:
        """Largest absolute weight of the critic; None where weights are free."""
        if self.name != "wgan":
            return None
        return CLIP if self.clip is None else self.clip

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
