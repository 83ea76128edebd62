"""What a gate may ask for, as it is written in YAML: one condition, or a list of them that must all hold.

A condition on a metric alone compares the figures of validation, as they are. The others are measured when the gate is
asked, on the samples of a split, and hold with a confidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, Tag, TypeAdapter, model_validator

from forgeline.registry.aliases import Alias
from forgeline.registry.gates import Gate
from forgeline.registry.slices import Slice
from forgeline.spec.units import Size, TimeSpan

SPLIT = re.compile(r"^(val|test)/")
_BOUNDED_KEYS = {"confidence", "not_worse_by", "slices", "min_rows"}


class _Condition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounded(_Condition):
    """Conditions on one metric that hold with a confidence, measured on the samples of a split."""

    metric: str = Field(description="Metric that is measured, `val/NAME` or `test/NAME`: the split is part of it.")
    at_least: FiniteFloat | None = Field(default=None, description="The metric's lower bound must reach this.")
    at_most: FiniteFloat | None = Field(default=None, description="The metric's upper bound must not pass this.")
    beats: Alias | None = Field(
        default=None, description="Alias whose version must be beaten on the same samples; while nothing has it, none."
    )
    not_worse_by: float | None = Field(
        default=None,
        ge=0,
        description="With `beats`: being worse by less than this, in the metric's unit, is enough.",
    )
    confidence: float = Field(default=0.95, ge=0.5, lt=1, description="Of every bound and test, one-sided.")
    slices: list[Slice] = Field(
        default=[],
        description="Columns (`plan`), comparisons (`age>50`) or `class`: all must hold in each such part as well.",
    )
    min_rows: int = Field(default=30, ge=2, description="Fewest samples by which a slice, or the whole, is judged.")
    seed: int = Field(default=0, ge=0, description="Seed of resampling.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.beats is None:
            raise ValueError("a condition that asks for nothing always holds; give at_least, at_most or beats")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: nothing can pass")
        if self.not_worse_by is not None and self.beats is None:
            raise ValueError(f"not_worse_by {self.not_worse_by:g} needs `beats`: the alias that it is compared with")
        if SPLIT.match(self.metric) is None:
            raise ValueError(f"metric: got {self.metric!r}; what is measured on samples is val/NAME or test/NAME")
        return self

    @property
    def split(self) -> str:
        """Whose samples are measured."""
        return self.metric.partition("/")[0]


class CalibrationBound(_Condition):
    """How far confidences may be from how often they are right."""

    at_most: float = Field(gt=0, le=1, description="Largest expected calibration error that passes.")
    confidence: float | None = Field(
        default=None, ge=0.5, lt=1, description="Judge by an upper bound at this confidence; the estimate without it."
    )
    bins: int = Field(default=15, ge=2, le=1000, description="Bins of equally many samples.")
    split: Literal["val", "test"] = Field(default="val", description="Whose samples are measured.")


class Calibrated(_Condition):
    """A bound on the calibration of a classifier."""

    calibration: CalibrationBound = Field(description="Calibration of the likeliest class's probability.")


class ExportBound(_Condition):
    """What the exported model may weigh, take and differ by."""

    format: str = Field(description="Format that the model is exported to, such as `onnx`.")
    parity: float | None = Field(
        default=None, ge=0, description="Largest difference of an output from the training module's that passes."
    )
    p50: TimeSpan | None = Field(default=None, description="Largest median latency of one sample, such as `5ms`.")
    p99: TimeSpan | None = Field(default=None, description="Largest 99th percentile of the latency of one sample.")
    size: Size | None = Field(default=None, description="Largest size of the exported files, such as `50MiB`.")
    split: Literal["val", "test"] = Field(default="val", description="Whose samples are measured.")
    samples: int = Field(default=256, ge=1, description="Samples that are measured on, the first of the split.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.parity is None and self.p50 is None and self.p99 is None and self.size is None:
            raise ValueError("an export that need not be anything always passes; give parity, p50, p99 or size")
        return self


class Exported(_Condition):
    """Bounds on the exported model."""

    export: ExportBound = Field(description="The exported model, exported for the purpose and measured here.")


def _form(value: Any) -> str:
    if isinstance(value, BaseModel):
        forms = {Bounded: "bounded", Calibrated: "calibration", Exported: "export"}
        return forms.get(type(value), "metric")
    keys = set(value) if isinstance(value, Mapping) else set()
    if keys & {"calibration", "export"}:
        return "calibration" if "calibration" in keys else "export"
    return "bounded" if keys & _BOUNDED_KEYS else "metric"


def _form_of_gate(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else _form(value)


Condition = Annotated[
    Annotated[Gate, Tag("metric")]
    | Annotated[Bounded, Tag("bounded")]
    | Annotated[Calibrated, Tag("calibration")]
    | Annotated[Exported, Tag("export")],
    Discriminator(_form),
]
"""One condition of a gate."""

GateConfig = Annotated[
    Annotated[Gate, Tag("metric")]
    | Annotated[Bounded, Tag("bounded")]
    | Annotated[Calibrated, Tag("calibration")]
    | Annotated[Exported, Tag("export")]
    | Annotated[Annotated[list[Condition], Field(min_length=1)], Tag("list")],
    Discriminator(_form_of_gate),
]
"""The type of a spec's key that holds a gate."""

AnyCondition = Gate | Bounded | Calibrated | Exported
AnyGate = AnyCondition | list[AnyCondition]

GATE: TypeAdapter[AnyGate] = TypeAdapter(GateConfig)


def conditions_of(gate: AnyGate | None) -> list[AnyCondition]:
    """A gate's conditions in order; none without a gate."""
    if gate is None:
        return []
    return list(gate) if isinstance(gate, list) else [gate]


def splits_of(gate: AnyGate | None) -> list[str]:
    """The splits whose samples a gate is measured on; none where it only compares figures that are there."""
    found = set()
    for condition in conditions_of(gate):
        if isinstance(condition, Bounded):
            found.add(condition.split)
        elif isinstance(condition, Calibrated):
            found.add(condition.calibration.split)
        elif isinstance(condition, Exported):
            found.add(condition.export.split)
    return sorted(found)


def rivals_of(gate: AnyGate | None) -> list[str]:
    """The aliases whose versions a gate compares with."""
    found = {one.beats for one in conditions_of(gate) if isinstance(one, Gate | Bounded) and one.beats is not None}
    return sorted(found)


def main_metric(gate: AnyGate | None) -> str | None:
    """The first metric that a gate names."""
    return next((one.metric for one in conditions_of(gate) if isinstance(one, Gate | Bounded)), None)
