"""Config of Imagen; the defaults are near the paper's networks for 64 and 256 pixels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.diffusion.config import (
    AttentionSides,
    CaptionedConfig,
    Guidance,
    ScheduleName,
    Widths,
    groups_divide,
    halves,
    square,
)
from forgeline_architectures.signature import Signature


class ImagenConfig(CaptionedConfig):
    """Size of text encoder and both U-Nets, noise, and how samples are drawn."""

    name: Literal["imagen"] = Field(default="imagen", description="The model's name.")
    schedule: ScheduleName = "cosine"
    factor: int = Field(default=4, ge=2, description="How many times smaller the first picture's side is.")
    widths: Widths = (512, 1024, 1536, 2048)
    blocks: PositiveInt = Field(default=3, description="Residual blocks at each resolution on the way down.")
    attention: AttentionSides = (32, 16, 8)
    upsampler_widths: tuple[PositiveInt, ...] = Field(
        default=(128, 256, 512, 1024),
        min_length=1,
        description="Channels at each resolution of the U-Net that enlarges, which begins with the large picture.",
    )
    upsampler_blocks: PositiveInt = Field(default=2, description="Its residual blocks at each resolution.")
    upsampler_attention: tuple[PositiveInt, ...] = Field(
        default=(), description="Its resolutions (side in pixels) that have attention; the lowest always has."
    )
    upsampler_steps: PositiveInt | None = Field(
        default=None, description="Steps that an enlargement takes; all of the timesteps when not given."
    )
    upsampler_guidance: Guidance = 1.0
    augmentation: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="How far, in shares of the timesteps, a sample's small picture is taken to noise before it is "
        "enlarged; while training it is any share.",
    )
    threshold: float = Field(
        default=0.995,
        gt=0,
        le=1,
        description="Share of a picture's numbers that dynamic thresholding leaves as they are.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share zeroed in each residual block.")

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        for key, widths in (("widths", self.widths), ("upsampler_widths", self.upsampler_widths)):
            groups_divide(self.groups, widths, key=key)
            groups_divide(self.heads, widths, key=key, divisor="heads")
        if self.upsampler_steps is not None and self.upsampler_steps > self.timesteps:
            raise ValueError(
                f"upsampler_steps {self.upsampler_steps} is more than the {self.timesteps} timesteps; change "
                "architecture.upsampler_steps or architecture.timesteps"
            )
        if self.upsampler_guidance != 1 and self.unconditional == 0:
            raise ValueError(
                f"upsampler_guidance {self.upsampler_guidance} needs architecture.unconditional above 0, got 0"
            )
        return self

    def check(self, signature: Signature) -> None:
        """Compare data and networks.

        Raises:
            ValueError: there are no captions; pictures are not square, or cannot be made smaller or halved so often.
        """
        super().check(signature)
        side = square(signature.outputs)
        if side % self.factor:
            raise ValueError(
                f"factor {self.factor} does not divide a side of {side} pixels; change architecture.factor or data.size"
            )
        halves(side // self.factor, self.widths)
        halves(side, self.upsampler_widths, key="upsampler_widths")
