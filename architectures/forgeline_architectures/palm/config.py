"""Config of the PaLM decoder; the defaults are the 8B model's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.decoder.config import (
    DecoderConfig,
    FeedForwardWidth,
    HeadWidth,
    Layers,
    NormEpsilon,
    RotaryBase,
    Width,
    rotation_needs_pairs,
)
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.signature import Signature

# Width of the feed-forward layer as a multiple of the model's: Chowdhery et al. 2022, table 1 (caption).
FEED_FORWARD_FACTOR = 4


class PalmConfig(DecoderConfig):
    """Size and regularisation of the decoder; the vocabulary comes from the data."""

    name: Literal["palm"] = Field(default="palm", description="The model's name.")
    layers: Layers = 32
    heads: PositiveInt = Field(default=16, description="Query heads per block; they share one head of keys and values.")
    width: Width = 4096
    head_width: HeadWidth = 256
    feed_forward: FeedForwardWidth | None = Field(
        default=None, description="Width of the feed-forward layer; 4 x `width` when not given."
    )
    rotary_base: RotaryBase = 10_000.0
    norm_epsilon: NormEpsilon = 1e-5

    @model_validator(mode="after")
    def _head_can_be_rotated(self) -> Self:
        rotation_needs_pairs(self.head_width, "architecture.head_width")
        return self

    def design(self, signature: Signature) -> DecoderDesign:
        """The decoder for these data.

        The logits are scaled by 1/sqrt(width), since the shared table of tokens starts with a standard deviation of 1
        (Chowdhery et al. 2022, section 5, "Weight initialization").
        """
        return DecoderDesign(
            vocabulary=signature.outputs[0],
            context=self.context_for(signature),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            key_value_heads=1,
            head_width=self.head_width,
            inner=self.feed_forward or FEED_FORWARD_FACTOR * self.width,
            norm="layer",
            norm_epsilon=self.norm_epsilon,
            positions="rotary",
            rotary_base=self.rotary_base,
            activation="swiglu",
            bias=False,
            parallel=True,
            tied=True,
            logit_scale=self.width**-0.5,
            initial="fan_in",
            dropout=self.dropout,
        )
