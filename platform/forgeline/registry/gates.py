"""The gate: what a model version must show before an alias moves to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from forgeline.errors import SpecError
from forgeline.registry.aliases import Alias
from forgeline.suggestions import did_you_mean

_TOLD = 6  # reasons that the history repeats; the evidence has all


class Gate(BaseModel):
    """Conditions on one metric; all that are given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(description="Metric that is looked at, such as `val/accuracy`.")
    at_least: FiniteFloat | None = Field(default=None, description="Smallest value that passes, in the metric's unit.")
    at_most: FiniteFloat | None = Field(default=None, description="Largest value that passes, in the metric's unit.")
    beats: Alias | None = Field(
        default=None,
        description="Alias whose version must be beaten, strictly, in the metric's own direction; "
        "where nothing has the alias yet, the thresholds are enough.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.beats is None:
            raise ValueError("a gate without a condition lets everything pass; give at_least, at_most or beats")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: nothing can pass")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """What a gate said.

    Attributes:
        passed: whether every condition held.
        reasons: a sentence for each condition.
        held: whether each of them held.
        asked: why the version is to have the alias, by whoever asked; empty where nobody said.
        evidence: sha256 of what it rests on, where that was kept.
    """

    passed: bool
    reasons: tuple[str, ...]
    held: tuple[bool, ...] = ()
    asked: str = ""
    evidence: str | None = None

    @property
    def why(self) -> str:
        """What the history says of a move that it allowed."""
        told = [self.asked] if self.asked else []
        told += list(self.reasons[:_TOLD]) or ["no gate was set"]
        if len(self.reasons) > _TOLD:
            told.append(f"{len(self.reasons) - _TOLD} more conditions held")
        return "; ".join([*told, *([f"evidence {self.evidence}"] if self.evidence else [])])


def evaluate_gate(
    gate: Gate,
    metrics: Mapping[str, float],
    champion_metrics: Mapping[str, float] | None,
    *,
    higher_is_better: bool,
) -> GateResult:
    """Hold a version's metrics against a gate.

    Args:
        gate: the conditions.
        metrics: of the new version.
        champion_metrics: of the version that has the alias `gate.beats`; None when no version has it.
        higher_is_better: the metric's direction.

    Raises:
        SpecError: the version has no such metric; the message has the nearest one.
    """
    if gate.metric not in metrics:
        raise SpecError(f"no metric {gate.metric!r}; {did_you_mean(gate.metric, metrics)}", key="register.gate.metric")
    value = metrics[gate.metric]
    checks = []
    if gate.at_least is not None:
        checks.append(_check(value >= gate.at_least, f"{gate.metric} {value:.6g}", f"at least {gate.at_least:.6g}"))
    if gate.at_most is not None:
        checks.append(_check(value <= gate.at_most, f"{gate.metric} {value:.6g}", f"at most {gate.at_most:.6g}"))
    if gate.beats is not None:
        checks.append(_beats(gate.metric, gate.beats, value, champion_metrics, higher_is_better=higher_is_better))
    held = tuple(good for good, _ in checks)
    return GateResult(passed=all(held), reasons=tuple(text for _, text in checks), held=held)


def _beats(
    metric: str, alias: str, value: float, rival: Mapping[str, float] | None, *, higher_is_better: bool
) -> tuple[bool, str]:
    if rival is None:
        # Not a number never passes, whether there is a rival or not.
        return not math.isnan(value), f"no version is {alias} yet, so there is none to beat"
    if metric not in rival:
        return False, f"the {alias} has no {metric}, so it cannot be told whether {value:.6g} beats it"
    other = rival[metric]
    better = value > other if higher_is_better else value < other
    wanted = f"{'above' if higher_is_better else 'below'} the {alias}'s {other:.6g}"
    return _check(better, f"{metric} {value:.6g}", wanted)


def _check(held: bool, got: str, wanted: str) -> tuple[bool, str]:
    return held, f"{got} is {wanted}" if held else f"{got} is not {wanted}"
