"""Options of optimiser and training; no torch in here, since specs are checked where torch is not imported.

Lengths are written as a share of the run (`5%`) or as optimizer steps (`100step`), so that a number never stands
without its unit.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

_SHARE_OR_STEPS = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>%|step)")


def _share_or_steps(value: object) -> str:
    if value == 0 and not isinstance(value, bool | str):
        return "0step"
    text = str(value).replace(" ", "").replace("steps", "step")
    found = _SHARE_OR_STEPS.fullmatch(text)
    if found is None or isinstance(value, int | float):
        raise ValueError(f"got {value!r}; write a share of the run such as `5%`, steps such as `100step`, or 0")
    number = float(found["number"])
    if found["unit"] == "%" and number > 100:
        raise ValueError(f"got {value!r}; a share of the run is at most 100%")
    if found["unit"] == "step" and not number.is_integer():
        raise ValueError(f"got {value!r}; steps are whole numbers")
    return text


ShareOrSteps = Annotated[
    str,
    BeforeValidator(_share_or_steps),
    WithJsonSchema({"anyOf": [{"const": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s?(%|steps?)$"}]}),
]


def in_steps(length: ShareOrSteps, total_steps: int) -> int:
    """A share or a number of steps, as steps of a run of `total_steps`.

    >>> in_steps("5%", 200), in_steps("30step", 200)
    (10, 30)
    """
    found = _SHARE_OR_STEPS.fullmatch(length)
    assert found is not None, length
    number = float(found["number"])
    return round(number / 100 * total_steps) if found["unit"] == "%" else int(number)


class OptimizerConfig(BaseModel):
    """Optimiser and learning-rate schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["sgd", "adam", "adamw", "rmsprop"] = Field(default="adamw", description="The optimiser.")
    lr: PositiveFloat = Field(default=1e-3, description="Largest learning rate, reached after the warm-up.")
    weight_decay: NonNegativeFloat = Field(
        default=0.01, description="Weight decay per unit of learning rate; not applied to biases and norms (1-D)."
    )
    decay_embeddings: bool = Field(default=True, description="Whether weight decay reaches embedding tables.")
    decay_only: tuple[str, ...] = Field(
        default=(), description="Patterns of parameter names that weight decay reaches, e.g. `layers.0.*`; none: all."
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd and rmsprop (share kept per step).")
    nesterov: bool = Field(default=False, description="Nesterov's form of the momentum (sgd).")
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="Shares of the two running means kept per step (adam, adamw)."
    )
    eps: PositiveFloat = Field(default=1e-8, description="Added to the denominator (adam, adamw, rmsprop).")
    alpha: float = Field(default=0.99, ge=0, lt=1, description="Share of the squared mean kept per step (rmsprop).")
    schedule: Literal["constant", "step", "cosine", "linear", "inverse_sqrt"] = Field(
        default="constant", description="Course of the learning rate after the warm-up."
    )
    warmup: ShareOrSteps = Field(
        default="0step", description="Linear rise from 0 to `lr`: a share of the run (`5%`), steps (`100step`), or 0."
    )
    final: float = Field(
        default=0.0, ge=0, le=1, description="Share of `lr` that cosine and linear have come down to at the end."
    )
    step_every: ShareOrSteps = Field(
        default="30%", description="How often `step` lowers the rate: a share of the run (`30%`) or steps (`500step`)."
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="Factor on the rate at each step of `step`.")

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {self.betas}; change optimizer.betas")
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError(
                f"nesterov needs name sgd and a momentum above 0, got name {self.name} and momentum {self.momentum}; "
                "change optimizer.nesterov"
            )
        if self.schedule == "inverse_sqrt" and float(self.warmup.rstrip("%step")) == 0:
            raise ValueError(
                f"schedule inverse_sqrt falls from the end of the warm-up, got warmup {self.warmup}; "
                "change optimizer.warmup"
            )
        if in_steps(self.step_every, 1000) == 0:
            raise ValueError(f"step_every must be above 0, got {self.step_every}; change optimizer.step_every")
        return self


class AdapterConfig(BaseModel):
    """Low-rank matrices that are trained beside frozen layers (Hu et al. 2022, LoRA, arXiv:2106.09685, section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[str, ...] = Field(
        min_length=1, description="Patterns of the names of linear and convolution layers that are adapted: `layer*`."
    )
    rank: PositiveInt = Field(default=8, description="Rank of what is added to a layer's weights.")
    alpha: PositiveFloat = Field(default=16.0, description="What is added is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of an adapter's inputs zeroed while training.")
    train: tuple[str, ...] | None = Field(
        default=None,
        description="Patterns of parameter names trained whole beside the adapters; the last layer when not given, and "
        "none of a language model.",
    )


class TrainingOptions(BaseModel):
    """What a Lightning module is told besides model and data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="Optimiser and schedule.")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="Factor on the loss of each class; none: all alike."
    )
    total_steps: PositiveInt = Field(description="Optimizer steps of the whole run.")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="Share of the averaged weights kept per step; none: no averaging."
    )
    gradient_clip: PositiveFloat | None = Field(
        default=None, description="Largest L2 norm of a gradient, for modules that step their own optimisers."
    )
    freeze: tuple[str, ...] = Field(default=(), description="Patterns of parameter names that are not trained.")
    learning_rates: dict[str, PositiveFloat] = Field(
        default_factory=dict, description="Pattern of parameter names -> factor on `lr`; the last match counts."
    )
