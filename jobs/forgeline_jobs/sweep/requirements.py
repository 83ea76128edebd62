"""What a trial's metrics must satisfy for it to be the best one, whatever its objectives are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class Requirement(BaseModel):
    """A bound on a metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(description="A metric that training measures, such as `val/ece`.")
    at_most: FiniteFloat | None = Field(default=None, description="Its largest value that is good enough.")
    at_least: FiniteFloat | None = Field(default=None, description="Its smallest value that is good enough.")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of at_most and at_least")
        return self

    def violation(self, metrics: Mapping[str, float | None]) -> float:
        """How far the metric is beyond the bound; 0 or less where it holds, infinite where nothing was measured."""
        value = metrics.get(self.metric)
        if value is None or math.isnan(value):
            return math.inf
        return value - self.at_most if self.at_most is not None else (self.at_least or 0.0) - value

    def __str__(self) -> str:
        way, bound = ("at most", self.at_most) if self.at_most is not None else ("at least", self.at_least)
        return f"{self.metric} {way} {bound:g}"


def meets(requirements: Sequence[Requirement], metrics: Mapping[str, float | None]) -> bool:
    """Whether all of them hold."""
    return all(requirement.violation(metrics) <= 0 for requirement in requirements)


def violations(requirements: Sequence[Requirement], metrics: Mapping[str, float | None]) -> dict[str, float]:
    """By requirement, how far it is violated; for a sampler, which takes no infinity."""
    return {str(one): min(one.violation(metrics), 1e30) for one in requirements}


def in_words(requirements: Sequence[Requirement]) -> str:
    """All of them on one line."""
    return ", ".join(map(str, requirements))
