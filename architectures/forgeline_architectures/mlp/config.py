"""Config of the multi-layer perceptron."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig


class MLPConfig(ArchitectureConfig):
    """Widths and regularisation of the perceptron."""

    name: Literal["mlp"] = Field(default="mlp", description="The model's name.")
    hidden: tuple[PositiveInt, ...] = Field(
        default=(128, 128), description="Units of each hidden layer; none makes the model linear."
    )
    activation: Literal["relu", "gelu", "tanh", "sigmoid"] = Field(
        default="relu", description="Non-linearity after each hidden layer."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of hidden units zeroed while training.")
    norm: Literal["none", "batch", "layer"] = Field(
        default="none", description="Normalisation before each non-linearity."
    )
    residual: bool = Field(
        default=False, description="Add each hidden layer's input to its output; needs equal `hidden` widths."
    )
    wide: bool = Field(
        default=False, description="Add a linear path from the inputs to the outputs beside the hidden layers."
    )
    embedding: PositiveInt | None = Field(
        default=None,
        description="Width of each categorical column's embedding; by its number of values when not given.",
    )

    @model_validator(mode="after")
    def _residual_fits(self) -> Self:
        if self.residual and len(set(self.hidden)) != 1:
            raise ValueError(
                f"residual needs hidden layers of one width, got hidden {list(self.hidden)}; "
                "change architecture.hidden or architecture.residual"
            )
        return self

    @property
    def fewest_samples(self) -> int:
        """Batch normalisation has no deviation of one row."""
        return 2 if self.norm == "batch" and self.hidden else 1
