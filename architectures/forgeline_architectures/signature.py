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
    "token_classification",
    "translation",
    "retrieval",
    "reconstruction",
    "generation",
]

# What the answer's dimensions mean, by task; their number is checked against it. A sample has any shape.
OUTPUT_DIMENSIONS: dict[Task, tuple[str, ...] | None] = {
    "classification": ("classes",),
    "regression": ("targets",),
    "forecasting": ("horizon", "targets"),
    "language_modelling": ("vocabulary",),
    "masked_language_modelling": ("vocabulary",),
    "token_classification": ("classes",),
    "translation": ("vocabulary",),
    "retrieval": ("vocabulary",),
    "reconstruction": None,
    "generation": None,
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
        default=None,
        description="Tokens that are known, where `outputs` does not say it: of texts to classify, or their tokens.",
    )
    outputs: tuple[PositiveInt, ...] = Field(
        description="(classes,), (targets,), (horizon, targets), (vocabulary,) or the shape of a sample, by task."
    )
    conditions: dict[str, PositiveInt] = Field(
        default_factory=dict,
        description="Inputs that tell a generator what to make -> how many values each has; 0 in a caption is padding.",
    )
    source: str | None = Field(
        default=None, description="Input, of the type and shape of a sample, that a generator translates into one."
    )

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of all inputs that a sample is made by: the conditions, and what is translated."""
        return (*self.conditions, self.source) if self.source is not None else tuple(self.conditions)

    @property
    def learnt(self) -> str:
        """Name of the input that a generator learns to make.

        Raises:
            ValueError: the task is not generation.
        """
        if self.task != "generation":
            raise ValueError(f"only a signature of generation has an input that is learnt to be made, not {self.task}")
        (name,) = set(self.inputs) - set(self.asked)
        return name

    @model_validator(mode="after")
    def _outputs_fit_the_task(self) -> Self:
        dimensions = OUTPUT_DIMENSIONS[self.task]
        if dimensions is not None and len(self.outputs) != len(dimensions):
            raise ValueError(
                f"outputs of {self.task} are ({', '.join(dimensions)}), got {len(self.outputs)} numbers: {self.outputs}"
            )
        if self.task in ("classification", "token_classification") and self.outputs[0] < 2:
            raise ValueError(f"{self.task} needs at least 2 classes, got outputs {self.outputs}")
        return self

    @model_validator(mode="after")
    def _a_reconstruction_is_like_its_input(self) -> Self:
        shapes = [spec.shape for spec in self.inputs.values()]
        if self.task == "reconstruction" and shapes != [self.outputs]:
            raise ValueError(f"a reconstruction {self.outputs} needs one input of its shape, got {shapes}")
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

    @model_validator(mode="after")
    def _conditions_fit_the_inputs(self) -> Self:
        if self.task != "generation":
            if self.asked:
                raise ValueError(f"conditions and source are for generation, got {self.asked} for {self.task}")
            return self
        for name in self.conditions:
            if name not in self.inputs or self.inputs[name].dtype != "int64":
                raise ValueError(f"condition {name!r} must be an input of int64; inputs are {', '.join(self.inputs)}")
        made = sorted(set(self.inputs) - set(self.asked))
        if len(made) != 1:
            raise ValueError(f"a generator learns to make one input, got {made or 'none'} besides the conditions")
        if self.inputs[made[0]].shape != self.outputs:
            raise ValueError(f"samples {self.outputs} must have the shape of {made[0]!r} {self.inputs[made[0]].shape}")
        if self.source is not None and self.inputs.get(self.source) != self.inputs[made[0]]:
            raise ValueError(
                f"the source {self.source!r} must be an input of the type and shape of {made[0]!r}; inputs are "
                f"{', '.join(self.inputs)}"
            )
        return self
