"""Config of the graph convolutional networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class GCNConfig(ArchitectureConfig):
    """Size and dropout; the defaults are those of the paper for Cora."""

    name: Literal["gcn"] = Field(default="gcn", description="The model's name.")
    hidden: PositiveInt = Field(default=16, description="Units of each layer but the last.")
    layers: PositiveInt = Field(default=2, description="Convolutions; a node is read as far as this many edges away.")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Share of each layer's inputs zeroed while training.")
