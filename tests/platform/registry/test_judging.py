"""Conditions on answers that are made up, so that every figure is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from forgeline.errors import SpecError
from forgeline.preprocessing import ClassTarget, Preprocessing, ScaledTarget, TablePreprocessing
from forgeline.registry.answers import Answers
from forgeline.registry.calibration_bound import calibration_figures
from forgeline.registry.conditions import (
    GATE,
    Bounded,
    CalibrationBound,
    conditions_of,
    main_metric,
    rivals_of,
    splits_of,
)
from forgeline.registry.judging import Compared, judge_bounded, judge_calibration
from forgeline.registry.slices import masks

N = 400


def preprocessing(target: Any) -> Preprocessing:
    return TablePreprocessing.fit(pd.DataFrame({"x": [0.0, 1.0]}), numeric=["x"], categorical=[], target=target)


def answers(right: np.ndarray, confidence: float = 0.9) -> Answers:
    """Of two classes, `no` and `yes` in turn, of which some are right."""
    targets = np.arange(len(right)) % 2
    predicted = np.where(right, targets, 1 - targets)
    outputs = np.full((len(right), 2), 1 - confidence)
    outputs[np.arange(len(right)), predicted] = confidence
    target = ClassTarget(name="churned", classes=("no", "yes"))
    return Answers(task="classification", preprocessing=preprocessing(target), outputs=outputs, targets=targets)


def first(share: float, n: int = N) -> np.ndarray:
    return np.arange(n) < share * n


def judge(condition: dict[str, Any], mine: Answers, rival: Answers | None = None, **columns: Any) -> Any:
    checked = Bounded.model_validate({"metric": "val/accuracy", "confidence": 0.95} | condition)
    given = {name: np.asarray(values) for name, values in columns.items()}
    return judge_bounded(checked, Compared(mine=mine, rival=rival), given)


def test_a_threshold_holds_by_its_bound_and_not_by_its_estimate() -> None:
    [found] = judge({"at_least": 0.88}, answers(first(0.9)))
    assert not found.held
    assert found.figures["value"] == 0.9 and found.figures["lower"] == pytest.approx(0.8717, abs=1e-3)
    assert "val/accuracy 0.9 (95 % lower bound 0.87" in found.reason and "is not at least 0.88" in found.reason
    assert judge({"at_least": 0.87}, answers(first(0.9)))[0].held


def test_a_champion_is_beaten_on_the_same_samples_only_with_confidence() -> None:
    champion = answers(first(0.90))
    [found] = judge({"beats": "champion"}, answers(first(0.91)), champion)
    assert not found.held and (found.figures["wins"], found.figures["losses"]) == (4, 0)
    assert found.figures["p"] == pytest.approx(2**-4)
    assert "is not shown to be better than it" in found.reason
    [found] = judge({"beats": "champion"}, answers(first(0.9125)), champion)
    assert found.held and found.figures["p"] == pytest.approx(2**-5)


def test_not_worse_by_a_margin() -> None:
    champion = answers(first(0.90))
    [found] = judge({"beats": "champion", "not_worse_by": 0.02}, answers(first(0.90)), champion)
    assert found.held and found.figures["margin"] == 0.02
    [found] = judge({"beats": "champion", "not_worse_by": 0.02}, answers(first(0.89)), champion)
    assert not found.held
    assert "is not shown to be by less than 0.02 worse than it" in found.reason


@pytest.mark.parametrize("metric", ["val/log_loss", "val/f1", "val/roc_auc"])
def test_losses_and_other_metrics_are_resampled_in_pairs(metric: str) -> None:
    better, worse = answers(first(0.95)), answers(first(0.80))
    [found] = judge({"metric": metric, "beats": "champion"}, better, worse)
    assert found.held and found.figures["gain"] > 0 and "paired bootstrap" in found.figures["method"]
    assert found.figures["seed"] == 0
    [found] = judge({"metric": metric, "beats": "champion"}, worse, better)
    assert not found.held
    [found] = judge({"metric": metric, "beats": "champion"}, better, better)
    assert not found.held


@pytest.mark.parametrize("classes", [2, 4])
def test_what_is_computed_quickly_for_resampling_is_the_metric(classes: int) -> None:
    generator = np.random.default_rng(5)
    names = tuple(f"c{number}" for number in range(classes))
    target = ClassTarget(name="churned", classes=names)
    outputs = np.round(generator.dirichlet(np.ones(classes), 80), 2)
    found = Answers(
        task="classification",
        preprocessing=preprocessing(target),
        outputs=outputs,
        targets=generator.integers(0, classes - (classes > 2), 80),
    )
    rows = generator.integers(0, 80, 80)
    for metric in ("precision", "recall", "f1", "roc_auc", "ece", "precision[c0]", "recall[c1]", "f1[c1]"):
        assert found.measure_of(metric)(rows) == pytest.approx(found.measure(metric, rows)), metric


def test_numbers_are_compared_in_their_own_units() -> None:
    truth = np.random.default_rng(0).normal(size=(N, 1))

    def of(scale: float, error: float) -> Answers:
        target = ScaledTarget(names=("y",), mean=(0.0,), std=(scale,))
        return Answers(
            task="regression",
            preprocessing=preprocessing(target),
            outputs=truth / scale + error / scale * np.where(np.arange(N) % 3, 1.0, -0.8)[:, None],
            targets=truth / scale,
        )

    for metric in ("val/mse", "val/mae", "val/rmse", "val/r2"):
        [found] = judge({"metric": metric, "beats": "champion"}, of(2.0, 0.1), of(0.5, 0.3))
        assert found.held, found.reason
    [found] = judge({"metric": "val/rmse", "at_most": 0.11}, of(2.0, 0.1))
    assert found.held and found.figures["value"] < found.figures["upper"] < 0.11


def test_every_slice_must_hold_and_small_ones_are_told() -> None:
    right = first(0.99)
    plan = np.where(np.arange(N) >= 340, "pro", "basic")
    plan[:5] = "team"
    found = judge({"at_least": 0.9, "slices": ["plan"]}, answers(right), plan=plan)
    by_slice = {one.figures["slice"]: one for one in found}
    assert list(by_slice) == ["all", "plan=basic", "plan=pro", "plan=team"]
    assert [by_slice[name].held for name in by_slice] == [True, True, False, True]
    assert "of plan=team has 5 samples, fewer than min_rows 30: not judged" in by_slice["plan=team"].reason
    found = judge({"at_least": 0.9, "slices": ["class"]}, answers(right))
    assert [one.figures["slice"] for one in found] == ["all", "class=no", "class=yes"]


def test_slices_that_are_all_too_small_do_not_pass_unseen() -> None:
    plan = np.array([f"p{number % 40}" for number in range(N)])
    found = judge({"at_least": 0.9, "slices": ["plan"]}, answers(first(1.0)), plan=plan)
    assert not found[-1].held and "no slice of 'plan' has min_rows 30 samples" in found[-1].reason
    [found_all] = judge({"at_least": 0.9}, answers(first(1.0, 20)))
    assert not found_all.held


def test_numbers_are_cut_at_quartiles_or_compared() -> None:
    age = np.array([*range(99), np.nan])
    names = [name for name, _ in masks("age", {"age": age}, None)]
    assert names == ["age<=24.5", "24.5<age<=49", "49<age<=73.5", "73.5<age", "age=missing or unknown"]
    assert sum(int(mask.sum()) for _, mask in masks("age", {"age": age}, None)) == 100
    [(name, mask)] = masks("age > 50", {"age": age}, None)
    assert (name, int(mask.sum())) == ("age > 50", 48)
    with pytest.raises(SpecError, match="there is no column 'aeg'; did you mean `age`"):
        list(masks("aeg", {"age": age}, None))
    with pytest.raises(SpecError, match="'old' is no number"):
        list(masks("age>old", {"age": age}, None))


def test_calibration_without_bias_and_with_a_bound() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.5, 1.0, 600)
    debiased, plug_in, covered = [], [], 0
    for _ in range(60):
        right = generator.random(600) < confidences
        found = calibration_figures(confidences, right, bins=15, confidence=0.95)
        debiased.append(found.debiased)
        plug_in.append(found.plug_in)
        covered += found.upper is not None and found.upper >= 0
    assert np.mean(plug_in) > 0.035 > 0.02 > np.median(debiased)
    off = calibration_figures(np.full(600, 0.9), first(0.7, 600), bins=15, confidence=0.95)
    assert off.upper is not None and off.debiased >= 0.2 - 0.02 and off.upper > 0.2
    [poor, good] = [answers(first(0.7)), answers(generator.permutation(first(0.9)))]
    bound = CalibrationBound(at_most=0.08)
    assert not judge_calibration(bound, poor).held
    assert judge_calibration(bound, good).held
    strict = judge_calibration(CalibrationBound(at_most=0.05, confidence=0.95), good)
    assert not strict.held and "upper bound" in strict.reason


def test_a_gate_may_be_a_condition_or_a_list_and_its_old_form_stays_as_it_was() -> None:
    old = {"metric": "val/accuracy", "at_least": 0.9, "at_most": None, "beats": "champion"}
    assert GATE.dump_python(GATE.validate_python(old), mode="json") == old
    gate = GATE.validate_python(
        [
            {"metric": "val/loss", "at_most": 0.5},
            {"metric": "test/accuracy", "beats": "champion", "not_worse_by": 0.01, "slices": ["plan", "age>50"]},
            {"calibration": {"at_most": 0.05}},
            {"export": {"format": "onnx", "parity": 1e-4, "p99": "20ms", "size": "50MiB"}},
        ]
    )
    assert [type(one).__name__ for one in conditions_of(gate)] == ["Gate", "Bounded", "Calibrated", "Exported"]
    assert (rivals_of(gate), splits_of(gate), main_metric(gate)) == (["champion"], ["test", "val"], "val/loss")
    assert GATE.validate_python(GATE.dump_python(gate, mode="json")) == gate


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"metric": "val/accuracy", "confidence": 0.95},
        {"metric": "val/accuracy", "not_worse_by": 0.01},
        {"metric": "accuracy", "at_least": 0.9, "confidence": 0.95},
        {"metric": "val/accuracy", "at_least": 0.9, "confidence": 1.0},
        {"metric": "val/accuracy", "at_least": 0.9, "slices": ["age>"]},
        {"metric": "val/accuracy", "at_least": 0.9, "slices": [""]},
        {"metric": "val/accuracy", "at_least": 0.9, "calibration": {"at_most": 0.1}},
        {"calibration": {}},
        {"export": {"format": "onnx"}},
        {"export": {"format": "onnx", "parity": -1}},
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        GATE.validate_python(wrong)
