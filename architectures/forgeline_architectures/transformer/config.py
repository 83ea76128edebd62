"""Config of the Transformer encoder-decoder; the defaults are the paper's base model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.decoder.config import heads_divide_width
from forgeline_architectures.descriptor import ArchitectureConfig


class TransformerConfig(ArchitectureConfig):
    """Size of both sides, how places are told apart, and the search for the target."""

    name: Literal["transformer"] = Field(default="transformer", description="The model's name.")
    layers: PositiveInt = Field(default=6, description="Layers of the encoder, and as many of the decoder.")
    heads: PositiveInt = Field(default=8, description="Attention heads per layer; must divide `width`.")
    width: PositiveInt = Field(
        default=512, multiple_of=2, description="Numbers that represent a token inside the model; even."
    )
    feed_forward: PositiveInt = Field(default=2048, description="Width of the feed-forward layers.")
    positions: Literal["sinusoidal", "learned"] = Field(
        default="sinusoidal", description="What tells places apart: the paper's waves, or a learned vector each."
    )
    norm: Literal["after", "before"] = Field(
        default="after",
        description="Layer normalisation after each residual sum, as published, or before each layer: steadier.",
    )
    shared: bool = Field(
        default=True, description="One table of tokens for source, target and output layer; else one for each."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs."
    )
    beams: PositiveInt = Field(default=4, description="Beginnings that the search keeps; 1 takes the likeliest token.")
    length_penalty: float = Field(
        default=0.6, ge=0, description="Exponent by which longer targets are preferred; 0 ranks by probability alone."
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads_divide_width(self.heads, self.width)
        return self
