"""Config of the recurrent networks. The name chooses the cell."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

Cell = Literal["rnn", "lstm", "gru"]


def names() -> tuple[str, ...]:
    """The cells, which are the names of the models."""
    return get_args(Cell)


class RecurrentConfig(ArchitectureConfig):
    """Cell, size and reading of the series."""

    name: Cell = Field(description="The recurrent unit.")
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
    nonlinearity: Literal["tanh", "relu"] | None = Field(
        default=None, description="Non-linearity of the `rnn`, tanh when not given; the gated cells take none."
    )
    forget_bias: float | None = Field(
        default=None,
        description="Initial bias of the `lstm`'s forget gate, 1 when not given (memory is kept at first); the others "
        "take none.",
    )

    @model_validator(mode="after")
    def _settings_are_of_the_cell(self) -> Self:
        for key, value, cell in (
            ("nonlinearity", self.nonlinearity, "rnn"),
            ("forget_bias", self.forget_bias, "lstm"),
        ):
            if value is not None and self.name != cell:
                raise ValueError(
                    f"{key} is {value!r} and only the cell `{cell}` has one, name is {self.name!r}; remove "
                    f"architecture.{key} or change architecture.name"
                )
        return self

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
