"""Config of the recurrent encoder-decoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class Seq2SeqConfig(ArchitectureConfig):
    """Cell and size of both sides, the attention between them, and the search for the target."""

    name: Literal["seq2seq"] = Field(default="seq2seq", description="The model's name.")
    cell: Literal["lstm", "gru"] = Field(default="gru", description="The recurrent unit of encoder and decoder.")
    attention: Literal["additive", "dot", "none"] = Field(
        default="additive",
        description="How the decoder looks at the source: Bahdanau's score, Luong's, or only through its first state.",
    )
    embedding: PositiveInt = Field(default=64, description="Numbers that represent a token.")
    hidden: PositiveInt = Field(
        default=256,
        multiple_of=2,
        description="Units of the decoder's state, an even number; the encoder has half of them in each direction.",
    )
    layers: PositiveInt = Field(default=1, description="Layers of encoder and decoder, on top of each other.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share zeroed of embeddings, between layers, and before the last layer."
    )
    beams: PositiveInt = Field(default=4, description="Beginnings that the search keeps; 1 takes the likeliest token.")
    length_penalty: float = Field(
        default=1.0, ge=0, description="Exponent by which longer targets are preferred; 0 ranks by probability alone."
    )
