"""Accuracy without labels: right where inputs come in other shares, in doubt where little is known, and warned of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from forgeline.bundle.calibration import Calibration
from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline_deploy.performance import Estimated, Estimator, text_of, warnings_of

Array = NDArray[np.float64]


class World:
    """Inputs x, two classes whose log odds are 2x, and a model that takes them for `sure` times as large."""

    def __init__(self, *, held_out: int, sure: float = 1.0, seed: int = 0) -> None:
        self.sure, self.rng = sure, np.random.default_rng(seed)
        x, truth = self.draw(5_000)
        val_x, val_truth = self.draw(held_out)
        outputs = self.outputs(val_x)
        probability = NumericReference.of(outputs.max(axis=1), resolution=1e-4)
        self.reference = Reference(
            samples=len(x),
            inputs={"x": NumericReference.of(x)},
            outputs={"probability": probability, "prediction": _profile(outputs)},
            calibration=Calibration.of(probability, outputs, val_truth),
        )
        found = Estimator.of(self.reference)
        assert found is not None
        self.estimator = found

    def draw(self, rows: int, *, mean: float = 0.0, spread: float = 1.0) -> tuple[Array, NDArray[np.int64]]:
        x = self.rng.normal(mean, spread, rows)
        return x, (self.rng.random(rows) < expit(2 * x)).astype(np.int64)

    def outputs(self, x: Array) -> Array:
        second = expit(2 * self.sure * x)
        return np.stack([1 - second, second], axis=1)

    def window(self, x: Array) -> Observation:
        outputs = self.outputs(x)
        known, probability = self.reference.inputs["x"], self.reference.outputs["probability"]
        predicted = self.reference.outputs["prediction"]
        assert isinstance(known, NumericReference) and isinstance(probability, NumericReference)
        assert isinstance(predicted, CategoricalReference)
        yes = int((outputs[:, 1] > 0.5).sum())
        return Observation(
            rows=len(x),
            inputs={"x": known.count(x)},
            outputs={
                "probability": probability.count(outputs.max(axis=1)),
                "prediction": predicted.count({"no": len(x) - yes, "yes": yes}),
            },
        )

    def estimate(self, x: Array) -> Estimated:
        found = self.estimator.estimate(self.window(x))
        assert found is not None
        return found


def _profile(outputs: Array) -> CategoricalReference:
    yes = int((outputs[:, 1] > 0.5).sum())
    return CategoricalReference.of(["no", "yes"], [len(outputs) - yes, yes])


@pytest.mark.parametrize("sure", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("mean", [0.0, 0.7, -1.0])
def test_inputs_in_other_shares_change_the_estimate_as_they_change_the_accuracy(sure: float, mean: float) -> None:
    """Also of a model that is too sure, or not sure enough: more than that of held-out rows would be off by."""
    world = World(held_out=20_000, sure=sure)
    x, truth = world.draw(20_000, mean=mean)
    accuracy = float(((x > 0) == truth).mean())
    found = world.estimate(x)
    assert found.accuracy == pytest.approx(accuracy, abs=0.015)
    assert found.high - found.low < 0.03
    if mean:
        assert accuracy > world.estimate(world.draw(20_000)[0]).accuracy + 0.02


def test_intervals_of_few_held_out_rows_cover_what_they_promise() -> None:
    covered = []
    for seed in range(80):
        world = World(held_out=60, sure=1.5, seed=seed)
        x, truth = world.draw(1_000, mean=0.5)
        found = world.estimate(x)
        covered.append(found.low <= ((x > 0) == truth).mean() <= found.high)
    # Of 80 at 95 %, 67 or fewer are seen in 1 of 6,000 cases.
    assert sum(covered) > 67


def test_doubt_shrinks_with_rows_and_grows_with_distance() -> None:
    few, many = World(held_out=60), World(held_out=5_000)
    x, _ = many.draw(2_000)
    far, _ = many.draw(2_000, mean=1.5)
    assert width(many.estimate(x)) < width(few.estimate(x))
    assert width(many.estimate(x)) < width(many.estimate(x[:50]))
    assert many.estimate(x).reach > 0.95 and many.estimate(far).reach < 0.5


def test_no_mistake_among_few_rows_is_no_certainty() -> None:
    probability = NumericReference.of(np.full(40, 0.97))
    calibration = Calibration(rows=(40,), correct=(40,), probability=(0.97,))
    reference = Reference(samples=1, inputs={}, outputs={"probability": probability}, calibration=calibration)
    estimator = Estimator.of(reference)
    assert estimator is not None
    found = estimator.estimate(
        Observation(rows=900, inputs={}, outputs={"probability": probability.count(np.full(900, 0.97))})
    )
    assert found is not None and 0.97 < found.accuracy < 0.995 and found.low < 0.97


def test_what_speaks_against_an_estimate_is_said() -> None:
    world = World(held_out=2_000)
    x, _ = world.draw(2_000)
    assert warnings_of(world.estimate(x).figures()) == ()
    noisy = warnings_of(world.estimate(x + world.rng.normal(0, 4, len(x))).figures())
    assert "beyond what was trained on" in noisy[0]
    moved = warnings_of(world.estimate(world.draw(2_000, mean=0.6)[0]).figures())
    assert any("a class became more frequent" in warning for warning in moved)
    line = text_of(world.estimate(x).figures())
    assert line is not None and line.startswith("accuracy about ") and "estimated without labels" in line
    assert text_of({"rows": 3.0, "estimated_accuracy": None}) is None


def test_rows_that_the_model_is_less_sure_of_than_ever_are_told() -> None:
    probability = NumericReference.of(np.linspace(0.9, 1.0, 200))
    calibration = Calibration(rows=probability.counts, correct=probability.counts, probability=_middles(probability))
    reference = Reference(samples=1, inputs={}, outputs={"probability": probability}, calibration=calibration)
    estimator = Estimator.of(reference)
    assert estimator is not None
    unsure = Observation(rows=100, inputs={}, outputs={"probability": probability.count(np.full(100, 0.55))})
    found = estimator.estimate(unsure)
    assert found is not None and found.below == 1 and found.accuracy < 0.95
    assert "less sure" in warnings_of(found.figures())[0]


def test_without_calibration_or_rows_nothing_is_estimated() -> None:
    world = World(held_out=100)
    assert Estimator.of(world.reference.model_copy(update={"calibration": None})) is None
    none = world.window(np.zeros(0))
    assert world.estimator.estimate(none) is None


@settings(max_examples=20, deadline=None)
@given(
    bins=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any),
    data=st.data(),
)
def test_an_interval_is_one(bins: list[int], data: st.DataObject) -> None:
    """Whatever the counts: between 0 and 1, with the estimate inside."""
    edges = tuple(np.linspace(0.55, 0.95, len(bins) - 1).tolist())
    probability = NumericReference(
        edges=edges, counts=tuple(bins), missing=0, mean=0.7, std=0.1, minimum=0.5, maximum=1.0
    )
    correct = tuple(data.draw(st.integers(0, count)) for count in bins)
    calibration = Calibration(rows=tuple(bins), correct=correct, probability=_middles(probability))
    reference = Reference(samples=1, inputs={}, outputs={"probability": probability}, calibration=calibration)
    estimator = Estimator.of(reference)
    assert estimator is not None
    values = data.draw(st.lists(st.floats(0.1, 1.0), min_size=1, max_size=30))
    seen = Observation(rows=len(values), inputs={}, outputs={"probability": probability.count(np.asarray(values))})
    found = estimator.estimate(seen)
    assert found is not None and 0 <= found.low <= found.high <= 1 and 0 < found.reach <= 1
    assert found.low - 0.01 <= found.accuracy <= found.high + 0.01


def width(found: Estimated) -> float:
    return found.high - found.low


def _middles(bins: NumericReference) -> tuple[float, ...]:
    borders = np.asarray([bins.minimum, *bins.edges, bins.maximum])
    return tuple(((borders[:-1] + borders[1:]) / 2).tolist())
