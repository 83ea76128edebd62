"""Config of the deep stacking network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig


class DSNConfig(ArchitectureConfig):
    """Size of the stack and of its closed-form fits."""

    name: Literal["dsn"] = Field(default="dsn", description="The model's name.")
    modules: PositiveInt = Field(default=3, description="Modules of the stack; the last one gives the answer.")
    hidden: PositiveInt = Field(default=512, description="Sigmoid units of each module.")
    ridge: PositiveFloat = Field(
        default=1e-3, description="Penalty on the squared upper weights, beside the mean squared error over samples."
    )
    memory: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Share kept per step of the sums that upper weights are solved from; 0: the batch alone.",
    )
