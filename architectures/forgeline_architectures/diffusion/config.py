"""What the configs of all diffusion families have in common; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

Prediction = Annotated[
    Literal["epsilon", "v"], Field(description="What the network predicts: the noise, or the velocity `v`.")
]
ScheduleName = Annotated[
    Literal["linear", "scaled_linear", "cosine"],
    Field(description="How the noise grows over the timesteps; `scaled_linear` is Stable Diffusion's."),
]
Guidance = Annotated[
    float,
    Field(ge=0, description="Weight of classifier-free guidance when sampling; 1 follows the condition plainly."),
]
Widths = Annotated[
    tuple[PositiveInt, ...],
    Field(min_length=1, description="Channels at each resolution; the side halves from one to the next."),
]
AttentionSides = Annotated[
    tuple[PositiveInt, ...],
    Field(description="Resolutions (side in pixels) that have attention; the lowest always has."),
]


class DiffusionConfig(ArchitectureConfig):
    """Noise, and how samples are drawn."""

    schedule: ScheduleName = "linear"
    prediction: Prediction = "epsilon"
    timesteps: PositiveInt = Field(default=1000, description="Steps over which a picture becomes noise.")
    steps: PositiveInt | None = Field(
        default=None, description="Steps that a sample takes, evenly over the timesteps; all of them when not given."
    )
    eta: float = Field(
        default=1.0, ge=0, le=1, description="Share of fresh noise in a sample's step: 1 is DDPM, 0 is DDIM."
    )
    unconditional: float = Field(
        default=0.1, ge=0, lt=1, description="Share of training samples whose condition is left out, for guidance."
    )
    guidance: Guidance = 1.0
    groups: PositiveInt = Field(default=32, description="Groups of the normalisation; must divide every width.")

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.steps is not None and self.steps > self.timesteps:
            raise ValueError(
                f"steps {self.steps} is more than the {self.timesteps} timesteps; change architecture.steps or "
                "architecture.timesteps"
            )
        return self

    @model_validator(mode="after")
    def _guidance_is_learnt(self) -> Self:
        if self.guidance != 1 and self.unconditional == 0:
            raise ValueError(
                f"guidance {self.guidance} compares with what is made without a condition, which unconditional 0 never "
                "learns; set architecture.unconditional above 0 or architecture.guidance to 1"
            )
        return self


class CaptionedConfig(DiffusionConfig):
    """Diffusion by what a text encoder reads in a caption; the defaults are the encoder of Stable Diffusion 1."""

    text_layers: PositiveInt = Field(default=12, description="Blocks of the text encoder.")
    text_heads: PositiveInt = Field(default=12, description="Its attention heads; must divide `text_width`.")
    text_width: PositiveInt = Field(default=768, description="Numbers that represent a word of the caption.")
    heads: PositiveInt = Field(default=8, description="Attention heads of the U-Net; must divide every width.")

    @model_validator(mode="after")
    def _text_heads_divide(self) -> Self:
        groups_divide(self.text_heads, (self.text_width,), key="text_width", divisor="text_heads")
        return self

    def check(self, signature: Signature) -> None:
        """Check that there are captions.

        Raises:
            ValueError: there are none.
        """
        if "caption" not in signature.conditions:
            raise ValueError(
                f"{self.name} makes pictures by captions, the data have none; change data.name or architecture.name"
            )


def groups_divide(number: int, widths: Sequence[int], *, key: str = "widths", divisor: str = "groups") -> None:
    """Refuse widths that groups or heads do not divide.

    Raises:
        ValueError: one is no multiple of the number.
    """
    wrong = [width for width in widths if width % number]
    if wrong:
        raise ValueError(
            f"{divisor} {number} does not divide the width {wrong[0]}; change architecture.{divisor} or "
            f"architecture.{key}"
        )


def halves(side: int, widths: Sequence[int], *, key: str = "widths") -> None:
    """Refuse a square that cannot be halved once for every width but the last.

    Raises:
        ValueError: the side is no multiple of 2 to the power of it.
    """
    factor = 2 ** (len(widths) - 1)
    if side % factor:
        raise ValueError(
            f"{len(widths)} widths halve a picture {len(widths) - 1} times, which a side of {side} pixels does not "
            f"allow (wanted a multiple of {factor}); change data.size or architecture.{key}"
        )


def square(shape: Sequence[int]) -> int:
    """The side of square pictures of this shape.

    Raises:
        ValueError: they are not square.
    """
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"pictures must be square [channels, side, side], got {list(shape)}; change data.size")
    return shape[1]
