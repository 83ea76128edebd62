"""Config of StyleGAN2; defaults are those of the paper's configuration F and its code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from forgeline_architectures.adversarial.resolutions import check_resolutions
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class StyleGAN2Config(ArchitectureConfig):
    """Size of the networks, and what regularises them; the size of the pictures comes from the data."""

    name: Literal["stylegan2"] = Field(default="stylegan2", description="The model's name.")
    latent: PositiveInt = Field(default=512, description="Numbers of the noise that a style is made of.")
    style: PositiveInt = Field(default=512, description="Numbers of a style, and units of the mapping network.")
    mapping_layers: PositiveInt = Field(default=8, description="Layers of the mapping network.")
    mapping_rate: PositiveFloat = Field(default=0.01, description="Factor on the learning rate in the mapping network.")
    widths: tuple[PositiveInt, ...] = Field(
        default=(512, 512, 512, 512),
        min_length=2,
        description="Channels at 4x4 pixels, 8x8, and so on up to the size of the pictures; of both networks.",
    )
    penalty: NonNegativeFloat = Field(default=10.0, description="Weight of R1 on data; 0 goes without it.")
    penalty_every: PositiveInt = Field(
        default=16, description="Steps from one with R1 to the next; its weight there is as many times larger."
    )
    path_length: NonNegativeFloat = Field(
        default=2.0, description="Weight of the path length's distance from its mean; 0 goes without it."
    )
    path_length_every: PositiveInt = Field(
        default=8,
        description="Steps from one with path lengths to the next; their weight there is as many times larger.",
    )
    mixing: float = Field(default=0.9, ge=0, le=1, description="Share of training samples that are made of two styles.")

    def check(self, signature: Signature) -> None:
        """Compare model and data.

        Raises:
            ValueError: the pictures are not square, or not of the size that the widths lead to.
        """
        check_resolutions(self.widths, signature)
