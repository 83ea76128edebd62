"""Config of the recurrent networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class LSTMConfig(ArchitectureConfig):
    """Cell, size and reading of the series."""

    name: Literal["lstm"] = Field(default="lstm", description="The model's name.")
    cell: Literal["lstm", "gru"] = Field(default="lstm", description="The recurrent unit.")
    hidden: PositiveInt = Field(default=128, description="Units of the state, per layer and direction.")
    layers: PositiveInt = Field(default=1, description="Layers on top of each other.")
    bidirectional: bool = Field(default=False, description="Read the series backwards as well; not for streams.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of units zeroed between layers and before the head."
    )
    pooling: Literal["last", "mean", "max"] = Field(
        default="last", description="What the answer is made from: the last state, or mean or maximum over the steps."
    )
    norm: bool = Field(default=False, description="Layer normalisation of the pooled state.")
    window: PositiveInt = Field(
        default=1,
        description="Points of the series that are read together as one step; fewer, richer steps learn faster.",
    )
    stride: PositiveInt | None = Field(
        default=None, description="Points between the starts of two windows; `window` when not given (no overlap)."
    )
    forget_bias: float = Field(
        default=1.0, description="Initial bias of the LSTM's forget gate; 1 keeps memory at first."
    )

    def check(self, signature: Signature) -> None:
        """Compare window and series.

        Raises:
            ValueError: the window does not fit in.
        """
        shape = signature.inputs["series"].shape
        if len(shape) != 2:
            raise ValueError(f"a series has (time, channels), got the shape {shape} for input `series`")
        if self.window > shape[0]:
            raise ValueError(
                f"window is {self.window} and the data's series have {shape[0]} points; change architecture.window"
            )
