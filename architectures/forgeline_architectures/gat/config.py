"""Config of the graph attention networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class GATConfig(ArchitectureConfig):
    """Size, heads and dropout; the defaults are those of the paper for Cora."""

    name: Literal["gat"] = Field(default="gat", description="The model's name.")
    hidden: PositiveInt = Field(default=8, description="Units of each head of every layer but the last.")
    heads: PositiveInt = Field(default=8, description="Attention heads of every layer but the last, side by side.")
    output_heads: PositiveInt = Field(default=1, description="Attention heads of the last layer, averaged.")
    layers: PositiveInt = Field(default=2, description="Layers; a node is read as far as this many edges away.")
    dropout: float = Field(default=0.6, ge=0, lt=1, description="Share of each layer's inputs zeroed while training.")
    attention_dropout: float = Field(
        default=0.6, ge=0, lt=1, description="Share of a node's neighbours that each head leaves out while training."
    )
    negative_slope: PositiveFloat = Field(
        default=0.2, description="Slope below zero of the leaky ReLU in the attention's score."
    )
