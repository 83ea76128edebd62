"""Config of the plain convolutional network; its defaults are LeNet-5's widths."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class LeNetConfig(ArchitectureConfig):
    """Widths, pooling and regularisation."""

    name: Literal["lenet"] = Field(default="lenet", description="The model's name.")
    filters: tuple[PositiveInt, ...] = Field(
        default=(6, 16), min_length=1, description="Filters of each convolution; each is followed by a pooling."
    )
    kernel: PositiveInt = Field(default=5, description="Side of a filter in pixels.")
    padding: Literal["none", "first", "all"] = Field(
        default="first",
        description="Convolutions that pad pictures so as to keep their size; the first: LeNet-5 at 28x28 pixels.",
    )
    pooling: Literal["average", "max"] = Field(
        default="average", description="What is kept of each 2x2 pixels after a convolution."
    )
    hidden: tuple[PositiveInt, ...] = Field(
        default=(120, 84), description="Units of each dense layer before the last; none: straight to the answer."
    )
    activation: Literal["tanh", "relu"] = Field(
        default="tanh", description="Non-linearity after each convolution and dense layer."
    )
    spatial_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of whole feature maps zeroed after each pooling while training."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of dense units zeroed while training.")

    @model_validator(mode="after")
    def _padding_fits(self) -> Self:
        if self.padding != "none" and self.kernel % 2 == 0:
            raise ValueError(
                f"padding {self.padding} keeps the size with filters of odd side only, got kernel {self.kernel}; "
                "change architecture.kernel, or set architecture.padding to none"
            )
        return self

    def padded(self, layer: int) -> bool:
        """Whether the convolution number `layer`, from 0, keeps the size."""
        return self.padding == "all" or (self.padding == "first" and layer == 0)

    def side_after(self, side: int) -> int:
        """Pixels that are left of `side` after all convolutions and poolings; 0 or less when there are too few."""
        for layer in range(len(self.filters)):
            side = (side if self.padded(layer) else side - self.kernel + 1) // 2
        return side

    def check(self, signature: Signature) -> None:
        """Check that something is left of the picture.

        Raises:
            ValueError: it is too small for so many layers, or no picture.
        """
        shape = signature.inputs["image"].shape
        if len(shape) != 3:
            raise ValueError(f"a picture has (channels, height, width), got the shape {shape} for input `image`")
        if min(self.side_after(shape[1]), self.side_after(shape[2])) < 1:
            raise ValueError(
                f"nothing is left of {shape[1]}x{shape[2]} pixels after {len(self.filters)} convolutions of "
                f"kernel {self.kernel} with padding {self.padding} and 2x2 poolings; shorten architecture.filters, "
                "lower architecture.kernel, or set architecture.padding to all"
            )
