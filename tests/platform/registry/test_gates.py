from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from forgeline.errors import SpecError
from forgeline.registry.gates import Gate, evaluate_gate

METRICS = {"val/accuracy": 0.96, "val/loss": 0.1}


@pytest.mark.parametrize(("at_least", "passed"), [(0.95, True), (0.96, True), (0.97, False)])
def test_a_lower_threshold(at_least: float, passed: bool) -> None:
    gate = Gate(metric="val/accuracy", at_least=at_least)
    result = evaluate_gate(gate, METRICS, None, higher_is_better=True)
    assert result.passed is passed
    assert result.reasons == (f"val/accuracy 0.96 is {'' if passed else 'not '}at least {at_least:g}",)


@pytest.mark.parametrize(("at_most", "passed"), [(0.09, False), (0.1, True)])
def test_an_upper_threshold(at_most: float, passed: bool) -> None:
    gate = Gate(metric="val/loss", at_most=at_most)
    assert evaluate_gate(gate, METRICS, None, higher_is_better=False).passed is passed


@pytest.mark.parametrize(
    ("metric", "higher_is_better", "rival", "passed"),
    [
        ("val/accuracy", True, 0.95, True),
        ("val/accuracy", True, 0.96, False),
        ("val/accuracy", True, 0.97, False),
        ("val/loss", False, 0.11, True),
        ("val/loss", False, 0.1, False),
        ("val/loss", False, 0.09, False),
    ],
)
def test_the_champion_is_beaten_strictly_and_in_the_metrics_direction(
    metric: str, higher_is_better: bool, rival: float, passed: bool
) -> None:
    gate = Gate(metric=metric, beats="champion")
    result = evaluate_gate(gate, METRICS, {metric: rival}, higher_is_better=higher_is_better)
    assert result.passed is passed
    assert "the champion's" in result.reasons[0]


def test_the_first_version_needs_only_the_thresholds() -> None:
    gate = Gate(metric="val/accuracy", at_least=0.95, beats="champion")
    result = evaluate_gate(gate, METRICS, None, higher_is_better=True)
    assert result.passed
    assert result.reasons[1] == "no version is champion yet, so there is none to beat"


def test_every_condition_counts_and_is_told() -> None:
    gate = Gate(metric="val/accuracy", at_least=0.99, beats="champion")
    result = evaluate_gate(gate, METRICS, {"val/accuracy": 0.5}, higher_is_better=True)
    assert not result.passed
    assert len(result.reasons) == 2


def test_a_champion_without_the_metric_is_not_beaten() -> None:
    gate = Gate(metric="val/accuracy", beats="champion")
    result = evaluate_gate(gate, METRICS, {"val/loss": 0.2}, higher_is_better=True)
    assert not result.passed
    assert "has no val/accuracy" in result.reasons[0]


@pytest.mark.parametrize("rival", [None, {"val/accuracy": 0.5}])
@pytest.mark.parametrize("conditions", [{"at_least": 0.0}, {"at_most": 1.0}, {"beats": "champion"}])
def test_not_a_number_passes_nothing(rival: dict[str, float] | None, conditions: dict[str, object]) -> None:
    gate = Gate.model_validate({"metric": "val/accuracy", **conditions})
    assert not evaluate_gate(gate, {"val/accuracy": math.nan}, rival, higher_is_better=True).passed


def test_a_metric_that_is_not_there_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="register.gate.metric: no metric 'val/acuracy'; did you mean `val/accuracy`"):
        evaluate_gate(Gate(metric="val/acuracy", at_least=1), METRICS, None, higher_is_better=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "m"},
        {"metric": "m", "at_least": 2, "at_most": 1},
        {"metric": "m", "at_least": math.nan},
        {"metric": "m", "at_leats": 1},
        {"metric": "m", "beats": "not an alias"},
        {"metric": "m", "beats": "latest"},
        {"metric": "m", "beats": "v2"},
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Gate.model_validate(wrong)
