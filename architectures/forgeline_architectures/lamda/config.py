"""Config of the LaMDA decoder; the defaults are the 2B model's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.decoder.config import (
    DecoderConfig,
    FeedForwardWidth,
    HeadWidth,
    Layers,
    NormEpsilon,
    Width,
)
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.signature import Signature

# 65,536 for a width of 8,192: Thoppilan et al. 2022, section 3.
FEED_FORWARD_FACTOR = 8


class LamdaConfig(DecoderConfig):
    """Size, regularisation and decoding; the vocabulary comes from the data."""

    name: Literal["lamda"] = Field(default="lamda", description="The model's name.")
    layers: Layers = 10
    heads: PositiveInt = Field(default=40, description="Attention heads per block.")
    width: Width = 2560
    head_width: HeadWidth = 128
    feed_forward: FeedForwardWidth | None = Field(
        default=None, description="Width of the feed-forward layer; 8 x `width` when not given."
    )
    norm_epsilon: NormEpsilon = 1e-6
    candidates: PositiveInt = Field(
        default=16,
        description="Continuations drawn for each prompt, of which the likeliest per token is kept; 1 for plain "
        "sampling.",
    )

    def design(self, signature: Signature) -> DecoderDesign:
        """The decoder for these data.

        The paper names T5's relative attention and gated GELU; what it leaves open follows T5: no biases, norms by
        the root mean square, one shared bias of distances. Attention is scaled by 1/sqrt(head width), which T5 puts
        into the initial weights of its queries, and the output layer is the table of tokens, as in T5's first version.
        """
        return DecoderDesign(
            vocabulary=signature.outputs[0],
            context=self.context_for(signature),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            key_value_heads=self.heads,
            head_width=self.head_width,
            inner=self.feed_forward or FEED_FORWARD_FACTOR * self.width,
            norm="rms",
            norm_epsilon=self.norm_epsilon,
            positions="relative",
            activation="geglu",
            bias=False,
            parallel=False,
            tied=True,
            dropout=self.dropout,
        )
