"""Config of DDPM; the defaults are the paper's network for CIFAR-10."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.diffusion.config import (
    AttentionSides,
    DiffusionConfig,
    Widths,
    groups_divide,
    halves,
    square,
)
from forgeline_architectures.signature import Signature


class DDPMConfig(DiffusionConfig):
    """Size of the U-Net, noise, and how samples are drawn; classes come from the data."""

    name: Literal["ddpm"] = Field(default="ddpm", description="The model's name.")
    widths: Widths = (128, 256, 256, 256)
    blocks: PositiveInt = Field(default=2, description="Residual blocks at each resolution on the way down.")
    attention: AttentionSides = (16,)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Share zeroed in each residual block.")

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        groups_divide(self.groups, self.widths)
        return self

    def check(self, signature: Signature) -> None:
        """Compare picture and network.

        Raises:
            ValueError: the pictures are not square, or cannot be halved so often.
        """
        halves(square(signature.outputs), self.widths)
