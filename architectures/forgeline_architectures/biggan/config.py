"""Config of BigGAN; the defaults are the paper's network for 128x128 pixels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.diffusion.config import halves, square
from forgeline_architectures.signature import Signature

BETAS = (0.0, 0.999)  # Brock et al. 2019, appendix C


class BigGANConfig(ArchitectureConfig):
    """Size of the two networks; classes and the size of the pictures come from the data."""

    name: Literal["biggan"] = Field(default="biggan", description="The model's name.")
    latent: PositiveInt = Field(
        default=120,
        description="Numbers of the noise that a sample is made of, dealt evenly to the first layer and each block: a "
        "multiple of the number of `widths`.",
    )
    embedding: PositiveInt = Field(default=128, description="Numbers that tell every block the class.")
    widths: tuple[PositiveInt, ...] = Field(
        default=(1536, 1536, 768, 384, 192, 96),
        min_length=2,
        description="Channels of the generator's maps, the coarsest first; the side doubles from each to the next. The "
        "discriminator has them the other way round.",
    )
    attention: PositiveInt | None = Field(
        default=64, description="Side in pixels of the maps that attend to themselves, in both networks; none: nowhere."
    )
    discriminator_steps: PositiveInt = Field(default=2, description="Batches for each step of the generator.")

    @model_validator(mode="after")
    def _noise_is_dealt_evenly(self) -> Self:
        if self.latent % len(self.widths):
            raise ValueError(
                f"latent {self.latent} is no multiple of {len(self.widths)}, the number of widths that it is dealt to; "
                "change architecture.latent or architecture.widths"
            )
        return self

    def sides(self, picture: int) -> tuple[int, ...]:
        """Side in pixels of the maps of each width, of pictures of this side."""
        last = len(self.widths) - 1
        return tuple(picture // 2 ** (last - level) for level in range(len(self.widths)))

    def check(self, signature: Signature) -> None:
        """Compare model and data.

        Raises:
            ValueError: there is no label, or the pictures are not square, cannot be halved so often, or have no maps of
                the side that attends.
        """
        if set(signature.conditions) != {"label"}:
            told = ", ".join(sorted(signature.conditions)) or "none"
            raise ValueError(f"biggan makes pictures by label, the data's condition is {told}; change data.condition")
        side = square(signature.outputs)
        halves(side, self.widths)
        allowed = [str(size) for size in self.sides(side)[1:-1] if size % 2 == 0]
        if self.attention is not None and str(self.attention) not in allowed:
            raise ValueError(
                f"attention {self.attention} is the side of no maps between the coarsest and the picture; allowed: "
                f"{', '.join([*allowed, 'none'])}; change architecture.attention"
            )
