"""Config of DCGAN; the defaults are the network of the authors' code for 64x64 pixels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

# Radford et al. 2016, section 4: 0.9 in the place of 0.5 oscillated.
BETAS = (0.5, 0.999)


class DCGANConfig(ArchitectureConfig):
    """Size of the two networks; the size of the pictures comes from the data."""

    name: Literal["dcgan"] = Field(default="dcgan", description="The model's name.")
    latent: PositiveInt = Field(default=100, description="Numbers of the noise that a sample is made of.")
    widths: tuple[PositiveInt, ...] = Field(
        default=(512, 256, 128, 64),
        min_length=1,
        description="Channels of the generator's maps, the coarsest first; the side doubles from each to the next, and "
        "from the last to the picture. The discriminator has them the other way round.",
    )

    def check(self, signature: Signature) -> None:
        """Compare picture and network.

        Raises:
            ValueError: the picture's sides cannot be halved once for each width.
        """
        factor = 2 ** len(self.widths)
        _, height, width = signature.outputs
        if height % factor or width % factor:
            raise ValueError(
                f"{len(self.widths)} widths halve a picture {len(self.widths)} times, which {height}x{width} pixels do "
                f"not allow (wanted multiples of {factor}); change data.size or architecture.widths"
            )
