"""What data promise a model: the names, shapes and types of a batch, and the shape of the answer.

A signature holds no data and needs no torch. It is written by a data module, stored in the bundle as JSON, and is all
that a model is built from besides its config.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Task = Literal[
    "classification",
    "regression",
    "forecasting",
    "language_modelling",
    "masked_language_modelling",
    "translation",
    "retrieval",
]

# What the answer's dimensions mean, by task; their number is checked against it.
OUTPUT_DIMENSIONS: dict[Task, tuple[str, ...]] = {
    "classification": ("classes",),
    "regression": ("targets",),
    "forecasting": ("horizon", "targets"),
    "language_modelling": ("vocabulary",),
    "masked_language_modelling": ("vocabulary",),
    "translation": ("vocabulary",),
    "retrieval": ("vocabulary",),
}


class TensorSpec(BaseModel):
    """Shape and type of one input of a batch; a graph's `features` have a row per node, its `edges` one per edge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[PositiveInt, ...] = Field(description="Shape of one sample, without the batch dimension.")
    dtype: Literal["float32", "int64"] = Field(description="Type of the numbers.")


class Signature(BaseModel):
    """Task, inputs and outputs of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = Field(description="What is learnt.")
    inputs: dict[str, TensorSpec] = Field(min_length=1, description="Inputs of a batch by name.")
    cardinalities: tuple[PositiveInt, ...] = Field(
        default=(), description="Values of each categorical column, index 0 (unknown or missing) counted."
    )
    vocabulary: PositiveInt | None = Field(
        default=None, description="Tokens that are known, where `outputs` does not say it: of texts to classify."
    )
    outputs: tuple[PositiveInt, ...] = Field(
        description="(classes,), (targets,), (horizon, targets) or (vocabulary,), by task."
    )

    @model_validator(mode="after")
    def _outputs_fit_the_task(self) -> Self:
        dimensions = OUTPUT_DIMENSIONS[self.task]
        if len(self.outputs) != len(dimensions):
            raise ValueError(
                f"outputs of {self.task} are ({', '.join(dimensions)}), got {len(self.outputs)} numbers: {self.outputs}"
            )
        if self.task == "classification" and self.outputs[0] < 2:
            raise ValueError(f"classification needs at least 2 classes, got outputs {self.outputs}")
        return self

    @model_validator(mode="after")
    def _cardinalities_fit_the_columns(self) -> Self:
        categorical = self.inputs.get("categorical")
        columns = 0 if categorical is None else categorical.shape[0]
        if columns != len(self.cardinalities):
            raise ValueError(
                f"cardinalities need one number per categorical column, got {len(self.cardinalities)} "
                f"for {columns} columns"
            )
        return self
