"""Config of CycleGAN; the defaults are those of the paper, for pictures of 256x256."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

BETAS = (0.5, 0.999)
# Below it a norm of the discriminator would see one number only.
SMALLEST_MAP = 3
SMALLEST_SIDE = 4  # the widest kernel reaches 3 pixels over the edge, and mirrors as many


class CycleGANConfig(ArchitectureConfig):
    """Size of the networks and weights of the losses; the domains come from the data."""

    name: Literal["cyclegan"] = Field(default="cyclegan", description="The model's name.")
    filters: PositiveInt = Field(
        default=64, description="Filters of a generator's first layer; twice as many after each halving."
    )
    halvings: NonNegativeInt = Field(default=2, description="How often a generator halves the side of a picture.")
    blocks: NonNegativeInt = Field(default=9, description="Residual blocks at a generator's lowest resolution.")
    discriminator_filters: PositiveInt = Field(
        default=64, description="Filters of a discriminator's first layer; twice as many in each further one, up to 8x."
    )
    discriminator_halvings: PositiveInt = Field(
        default=3,
        description="How often a discriminator halves the side; it judges patches of 16, 34, 70, ... pixels for 1, 2, "
        "3, ...",
    )
    cycle: NonNegativeFloat = Field(
        default=10.0, description="Weight of the distance of a picture from itself, translated there and back."
    )
    identity: NonNegativeFloat = Field(
        default=0.5,
        description="Weight, as a share of `cycle`, of the distance of a picture from its translation into its own "
        "domain.",
    )
    replay: NonNegativeInt = Field(
        default=50,
        description="Translations of each domain that are kept to be shown to its discriminator again; 0 for none.",
    )

    def check(self, signature: Signature) -> None:
        """Compare networks and pictures.

        Raises:
            ValueError: the data have no two domains, or pictures of a side that the networks cannot take.
        """
        if signature.source is None or set(signature.conditions) != {"label"} or signature.conditions["label"] != 2:
            has = f"{signature.conditions.get('label', 'no')} of them" if signature.source else "none"
            raise ValueError(
                f"cyclegan translates between two domains; the data have {has}: change data.condition to domain, with "
                "data of two classes, or data.name"
            )
        _, height, width = signature.outputs
        unit = 2**self.halvings
        for side in (height, width):
            if side % unit or side // unit < 2 or side < SMALLEST_SIDE:
                raise ValueError(
                    f"{self.halvings} halvings take pictures whose sides are multiples of {unit}, from "
                    f"{max(2 * unit, SMALLEST_SIDE)}; got {height}x{width}: change data.size or architecture.halvings"
                )
            if side // 2**self.discriminator_halvings < SMALLEST_MAP:
                raise ValueError(
                    f"{self.discriminator_halvings} halvings of the discriminator take pictures from "
                    f"{SMALLEST_MAP * 2**self.discriminator_halvings} pixels; got {height}x{width}: change data.size "
                    "or architecture.discriminator_halvings"
                )
