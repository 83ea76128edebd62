"""Config of the autoencoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class AutoencoderConfig(ArchitectureConfig):
    """Sizes of both sides and of the code; data with noise make it a denoising one."""

    name: Literal["autoencoder"] = Field(default="autoencoder", description="The model's name.")
    backbone: Literal["dense", "convolutional"] = Field(
        default="dense", description="Layers of both sides; convolutions halve the picture at each layer."
    )
    hidden: tuple[PositiveInt, ...] = Field(
        default=(256,), description="Units or channels of the encoder's layers; the decoder has them backwards."
    )
    latent: PositiveInt = Field(default=16, description="Numbers of the code.")
    sparsity: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Mean activity that each unit of the code, then from 0 to 1, is held to; nothing: no sparse code.",
    )
    sparsity_weight: PositiveFloat = Field(default=0.01, description="Weight of what `sparsity` adds to the loss.")

    def check(self, signature: Signature) -> None:
        """Compare picture and layers.

        Raises:
            ValueError: the picture cannot be halved so often.
        """
        if self.backbone == "dense":
            return
        _, height, width = signature.outputs
        times = 2 ** len(self.hidden)
        if height % times or width % times:
            raise ValueError(
                f"pictures of {height}x{width} cannot be halved {len(self.hidden)} times; allowed: sides that "
                f"{times} divides, or fewer layers: change architecture.hidden"
            )
