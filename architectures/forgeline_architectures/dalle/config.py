"""Config of DALL-E; the defaults are the paper's networks."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from forgeline_architectures.decoder.config import Layers, Width, heads_divide_width
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.diffusion.config import halves, square
from forgeline_architectures.gpt.config import FEED_FORWARD_FACTOR, NORM_EPSILON
from forgeline_architectures.signature import Signature
from forgeline_architectures.stages import check_first_stage

BOTTLENECK = 4  # a residual block is narrower by it inside: the authors' code


class DalleConfig(ArchitectureConfig):
    """Size of the discrete autoencoder and of the decoder, how each learns, and how samples are drawn."""

    name: Literal["dalle"] = Field(default="dalle", description="The model's name.")
    codes: PositiveInt = Field(default=8192, description="Tokens of the pictures' vocabulary.")
    autoencoder_widths: tuple[PositiveInt, ...] = Field(
        default=(256, 512, 1024, 2048),
        min_length=1,
        description="Channels of the autoencoder at each resolution; the side halves from one to the next.",
    )
    autoencoder_blocks: PositiveInt = Field(default=2, description="Residual blocks at each of its resolutions.")
    autoencoder_steps: NonNegativeInt = Field(
        description="Optimiser steps, from the first, in which the autoencoder learns alone; the decoder learns after "
        "them. 0 for a model that starts from the weights of another one, whose autoencoder it keeps."
    )
    kl: NonNegativeFloat = Field(
        default=6.6,
        description="Weight, in the autoencoder's loss, of codes not being equally likely.",
    )
    likelihood: Literal["laplace", "normal"] = Field(
        default="laplace",
        description="How a pixel lies about what the autoencoder gives: by Laplace's density, as in the paper, or by "
        "the normal one, to which far-off pixels count for more: for small things of strong colour.",
    )
    smallest_scale: PositiveFloat = Field(
        default=0.02,
        description="Smallest scale that the likelihood of a pixel may have; larger for flat pictures, whose colours "
        "would count for nothing beside their backgrounds.",
    )
    coldest: PositiveFloat = Field(
        default=0.0625, description="Temperature that the relaxed codes come down to, from 1, while they are learnt."
    )
    layers: Layers = 64
    heads: PositiveInt = Field(default=62, description="Attention heads per block; must divide `width`.")
    width: Width = 3968
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs of the decoder."
    )
    text_weight: NonNegativeFloat = Field(
        default=0.125, le=1, description="Weight of the caption's tokens in the decoder's loss, beside the picture's."
    )
    temperature: PositiveFloat = Field(
        default=1.0,
        description="What a sample's logits are divided by; below 1 samples are more usual, less varied.",
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads_divide_width(self.heads, self.width)
        wrong = [width for width in self.autoencoder_widths if width % BOTTLENECK]
        if wrong:
            raise ValueError(
                f"autoencoder_widths must be multiples of {BOTTLENECK}, got {wrong[0]}; "
                "change architecture.autoencoder_widths"
            )
        return self

    def side(self, signature: Signature) -> int:
        """Tokens along a side of a picture."""
        halvings = len(self.autoencoder_widths) - 1
        return signature.outputs[-1] >> halvings

    def check(self, signature: Signature) -> None:
        """Compare data and autoencoder.

        Raises:
            ValueError: there are no captions; pictures are not square or cannot be halved so often.
        """
        if "caption" not in signature.conditions:
            raise ValueError(
                "dalle makes pictures by captions, the data have none; change data.name or architecture.name"
            )
        halves(square(signature.outputs), self.autoencoder_widths, key="autoencoder_widths")

    def check_run(self, *, total_steps: int, pretrained: bool) -> None:
        """Hold the autoencoder's steps against the run's.

        Raises:
            ValueError: no step is left to the decoder, or it would learn on an autoencoder of random weights.
        """
        check_first_stage(
            self.autoencoder_steps, key="autoencoder_steps", total_steps=total_steps, pretrained=pretrained
        )

    def design(self, signature: Signature) -> DecoderDesign:
        """The decoder, whose vocabulary is that of captions with that of pictures behind it."""
        return DecoderDesign(
            vocabulary=signature.conditions["caption"] + self.codes,
            context=signature.inputs["caption"].shape[0] + self.side(signature) ** 2,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            key_value_heads=self.heads,
            head_width=self.width // self.heads,
            inner=FEED_FORWARD_FACTOR * self.width,
            norm="layer",
            norm_epsilon=NORM_EPSILON,
            positions="learned",
            activation="gelu",
            bias=True,
            parallel=False,
            tied=True,
            dropout=self.dropout,
        )
