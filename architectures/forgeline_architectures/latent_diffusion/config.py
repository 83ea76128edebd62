"""Config of latent diffusion; the defaults are the networks of Stable Diffusion 1."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from forgeline_architectures.diffusion.config import (
    CaptionedConfig,
    ScheduleName,
    Widths,
    groups_divide,
    halves,
    square,
)
from forgeline_architectures.signature import Signature
from forgeline_architectures.stages import check_first_stage
from forgeline_architectures.weight_files import weight_file


class LatentDiffusionConfig(CaptionedConfig):
    """Size of autoencoder, text encoder and U-Net, noise, and how samples are drawn."""

    name: Literal["latent_diffusion"] = Field(default="latent_diffusion", description="The model's name.")
    schedule: ScheduleName = "scaled_linear"
    widths: Widths = (320, 640, 1280, 1280)
    blocks: PositiveInt = Field(default=2, description="Residual blocks at each resolution of the U-Net's way down.")
    attention: tuple[PositiveInt, ...] = Field(
        default=(64, 32, 16),
        description="Resolutions (side of a latent picture) that have attention; the lowest always has.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share zeroed in each residual block of the U-Net.")
    autoencoder_widths: Widths = (128, 256, 512, 512)
    autoencoder_blocks: PositiveInt = Field(
        default=2, description="Residual blocks at each resolution of the autoencoder's way down."
    )
    autoencoder_steps: NonNegativeInt = Field(
        description="Optimiser steps, from the first, in which the autoencoder learns alone; the rest learns after "
        "them. 0 for a model that starts from the weights of another one, whose autoencoder it keeps.",
    )
    latent_channels: PositiveInt = Field(default=4, description="Channels of a latent picture.")
    pretrained: str | None = Field(
        default=None,
        description="U-Net and autoencoder to start from: folder of a pipeline of Stable Diffusion as diffusers writes "
        "it, or `hub:ORG/MODEL`; the text encoder starts anew.",
    )
    kl: NonNegativeFloat = Field(
        default=1e-6, description="Weight, in the autoencoder's loss, of the latent pictures' divergence from noise."
    )
    pixel_error: Literal["absolute", "squared"] = Field(
        default="absolute",
        description="What the autoencoder's loss counts of a pixel. `squared` for small things of strong colour, which "
        "are a small part of an absolute error, and which no perceptual loss speaks for here.",
    )

    @model_validator(mode="after")
    def _groups_and_heads_fit(self) -> Self:
        groups_divide(self.groups, self.widths)
        groups_divide(self.groups, self.autoencoder_widths, key="autoencoder_widths")
        groups_divide(self.heads, self.widths, divisor="heads")
        return self

    @field_validator("pretrained")
    @classmethod
    def _networks_are_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

    @model_validator(mode="after")
    def _noise_tells_the_latent(self) -> Self:
        """Refuse to divide by next to nothing: (noisy - noise) / signal is the latent where the noise is predicted.

        The cosine schedule's last signal is 5e-5 (of 1,000 timesteps), so that an error in the noise counts 20,000
        times as much; those of linear and scaled_linear are 0.006 and 0.07. Pictures are brought back into their range
        in every step, latents have none. The velocity tells the latent at any signal: Salimans & Ho 2022
        (arXiv:2202.00512), section 4, and of latents Lin et al. 2024 (arXiv:2305.08891), section 3.2.
        """
        if self.schedule == "cosine" and self.prediction == "epsilon":
            raise ValueError(
                "the cosine schedule ends in so little signal that predicted noise (epsilon) says nothing of latents; "
                "set architecture.prediction to v, or architecture.schedule to scaled_linear or linear"
            )
        return self

    def latent_shape(self, signature: Signature) -> tuple[int, int, int]:
        """Channels and sides of a latent picture."""
        side = signature.outputs[-1] // 2 ** (len(self.autoencoder_widths) - 1)
        return (self.latent_channels, side, side)

    def check(self, signature: Signature) -> None:
        """Compare data and networks.

        Raises:
            ValueError: there are no captions; pictures are not square, or they or their latents cannot be halved so
                often.
        """
        super().check(signature)
        halves(square(signature.outputs), self.autoencoder_widths, key="autoencoder_widths")
        halves(self.latent_shape(signature)[-1], self.widths)

    def check_run(self, *, total_steps: int, pretrained: bool) -> None:
        """Hold the autoencoder's steps against the run's.

        Raises:
            ValueError: no step is left to the U-Net, or it would learn on an autoencoder of random weights.
        """
        check_first_stage(
            self.autoencoder_steps,
            key="autoencoder_steps",
            total_steps=total_steps,
            pretrained=pretrained or self.pretrained is not None,
        )
