"""Config of the message passing networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class MPNNConfig(ArchitectureConfig):
    """Sizes and steps."""

    name: Literal["mpnn"] = Field(default="mpnn", description="The model's name.")
    hidden: PositiveInt = Field(default=64, description="Numbers of a node's state.")
    edge_hidden: PositiveInt = Field(
        default=128, description="Hidden units of the network that makes a matrix of an edge's features."
    )
    steps: PositiveInt = Field(default=3, description="Rounds of messages; a node hears of nodes this many edges away.")
    readout_steps: PositiveInt = Field(default=3, description="Rounds in which the readout looks at all nodes.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of the readout zeroed while training.")

    @property
    def fewest_samples(self) -> int:
        """Graphs are normalised over a batch before the last layers."""
        return 2
