"""Config of the variational autoencoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class VAEConfig(ArchitectureConfig):
    """Sizes of both sides and of the space between them; data with labels make it a conditional VAE."""

    name: Literal["vae"] = Field(default="vae", description="The model's name.")
    hidden: tuple[PositiveInt, ...] = Field(
        default=(512, 256), description="Units of the encoder's hidden layers; the decoder has them backwards."
    )
    latent: PositiveInt = Field(default=20, description="Numbers that stand for a picture.")
    beta: PositiveFloat = Field(
        default=1.0, description="Weight of the divergence from the prior in the loss; above 1: a beta-VAE."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the encoder's hidden units zeroed while training."
    )
