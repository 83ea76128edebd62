"""Settings that change while a run trains: at a given length it writes a checkpoint and goes on with others.

What the best trial of a population was trained with is such a course, and a spec with it trains the same model again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forgeline.spec.units import Length
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    from forgeline_jobs.train.spec import TrainSpec

CHANGEABLE = (
    *("optimizer.lr", "optimizer.weight_decay", "optimizer.momentum", "optimizer.betas", "optimizer.eps"),
    *("optimizer.alpha", "trainer.gradient_clip", "trainer.label_smoothing"),
)
"""Keys that a run can go on with other values of."""


class Change(BaseModel):
    """Other settings from some point on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: Length = Field(description="Training before the change: `4ep` or `500step`.")
    values: dict[str, Any] = Field(min_length=1, description="Keys and what they are from then on.")

    @field_validator("values")
    @classmethod
    def _changeable(cls, values: dict[str, Any]) -> dict[str, Any]:
        wrong = next((key for key in values if key not in CHANGEABLE), None)
        if wrong is not None:
            raise ValueError(f"{wrong} stays as it is for a run's life; {did_you_mean(wrong, CHANGEABLE)}")
        return values


def check(spec: TrainSpec) -> None:
    """That the changes come in order, before the end, and are settings that the run could have begun with.

    Raises:
        ValueError: which does not, and why.
    """
    whole = spec.length
    before: Length | None = None
    for at, change in enumerate(spec.changes):
        key = f"changes.{at}.after {change.after}"
        if change.after.unit != whole.unit:
            raise ValueError(f"{key}: the run trains for {whole}; give both in epochs, or in steps")
        if change.after >= whole:
            raise ValueError(f"{key}: the run trains for {whole}; make it shorter, or train longer")
        if before is not None and change.after <= before:
            raise ValueError(f"{key}: it does not come after the change at {before}; put them in order")
        before = change.after
        try:
            with_changes(spec, at + 1)
        except ValidationError as error:
            wrong = error.errors()[0]
            name = ".".join(map(str, wrong["loc"])) or ", ".join(change.values)
            raise ValueError(f"changes.{at}.values, {name}: got {wrong['input']!r}; {wrong['msg']}") from error


def with_changes(spec: TrainSpec, count: int) -> TrainSpec:
    """The spec as it is after so many of its changes.

    Raises:
        ValueError: a value is not allowed.
    """
    blocks: dict[str, dict[str, Any]] = {}
    for change in spec.changes[:count]:
        for key, value in change.values.items():
            block, name = key.split(".")
            blocks.setdefault(block, {})[name] = value
    updates: dict[str, Any] = {}
    for block, values in blocks.items():
        model = getattr(spec, block)
        updates[block] = type(model).model_validate({**model.model_dump(mode="json"), **values})
    return spec.model_copy(update=updates)


def made_by(changes: Sequence[Change], step: int, *, steps_per_epoch: int) -> int:
    """How many of the changes are made once so many optimizer steps are taken."""
    return sum(_steps(change.after, steps_per_epoch) <= step for change in changes)


def of_course(course: Sequence[tuple[int, Mapping[str, Any]]], unit: str) -> list[dict[str, Any]]:
    """The changes, as a spec has them, that a course of values amounts to.

    Args:
        course: from which length on, which values; the first are those that the run begins with.
        unit: of these lengths, `ep` or `step`.
    """
    found = []
    for (_, before), (after, values) in zip(course, course[1:], strict=False):
        changed = {key: value for key, value in values.items() if value != before.get(key)}
        if changed:
            found.append({"after": f"{after}{unit}", "values": changed})
    return found


def _steps(length: Length, steps_per_epoch: int) -> int:
    return length.value if length.unit == "step" else length.value * steps_per_epoch
