"""Config of DDPM; the defaults are the paper's network for CIFAR-10."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.diffusion.config import (
    AttentionSides,
    DiffusionConfig,
    Widths,
    groups_divide,
    halves,
    square,
)
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file


class DDPMConfig(DiffusionConfig):
    """Size of the U-Net, noise, and how samples are drawn; classes come from the data."""

    name: Literal["ddpm"] = Field(default="ddpm", description="The model's name.")
    widths: Widths = (128, 256, 256, 256)
    blocks: PositiveInt = Field(default=2, description="Residual blocks at each resolution on the way down.")
    attention: AttentionSides = (16,)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Share zeroed in each residual block.")
    pretrained: str | None = Field(
        default=None,
        description="Network to start from: folder of a pipeline or of a U-Net as diffusers writes it, or "
        "`hub:ORG/MODEL`.",
    )

    @field_validator("pretrained")
    @classmethod
    def _network_is_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

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
