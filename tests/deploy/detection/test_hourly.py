"""An hour's reference is counted in the bins of the model's: its bounds hold there, and tolerances mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericReference
from forgeline_deploy.detection import HourlyDetector, Tolerance, ToleranceSpec, directions
from forgeline_deploy.detection.hourly import distribution_of

EXACT = Tolerance.parse(0)
SHARES = {
    "even": np.full(66, 1 / 66),
    "ties": np.asarray([0.02, 0.6, 0.2, 0.1, 0.05, 0.03]),
    "middle": np.asarray([0.0, 0.14, 0.72, 0.14, 0.0]),
    "two": np.asarray([0.0, 0.5, 0.5, 0.0]),
}


def detector(reference: Reference, tolerance: str) -> HourlyDetector:
    spec = ToleranceSpec(default=Tolerance.parse(tolerance))
    return HourlyDetector(reference, windows=1_000, tolerance=spec, fewest_rows=30)


def test_in_a_narrow_hour_sigma_is_that_of_the_model() -> None:
    """Of rows around 0 and around 10 a deviation is 5.1, so that 0.05 of it is a quarter of the hour's own."""
    rng = np.random.default_rng(0)
    known = NumericReference.of(np.concatenate([rng.normal(0, 1, 5_000), rng.normal(10, 1, 5_000)]))
    reference = Reference(samples=10_000, inputs={"x": known})
    before = Observation(rows=5_000, inputs={"x": known.count(rng.normal(0, 1, 5_000))})
    alarms = {}
    for moved in (0.2, 0.5):
        hourly = detector(reference, "0.05 sigma")
        window = Observation(rows=20_000, inputs={"x": known.count(rng.normal(moved, 1, 20_000))})
        alarms[moved] = any(hourly.step(before, window).alarm for _ in range(5))
    assert alarms == {0.2: False, 0.5: True}


@pytest.mark.parametrize("kind", SHARES)
@pytest.mark.parametrize("rows", [100, 1_000])
def test_bounds_hold_in_bins_of_another_sample(kind: str, rows: int) -> None:
    """Of 300 references in bins that are given, with bounds that may fail in one of five on either side."""
    rng, shares_K = np.random.default_rng(1), SHARES[kind]
    bins = len(shares_K) - 2
    held = NumericReference(
        edges=tuple(map(float, range(1, bins))), counts=(10,) * bins, missing=0, mean=bins / 2, std=1.0, minimum=0.0,
        maximum=float(bins),
    )  # fmt: skip
    middles = np.arange(len(shares_K)) - 0.5
    failed: dict[str, list[tuple[bool, bool]]] = {}
    for _ in range(300):
        counts = held.count(np.repeat(middles, rng.multinomial(rows, shares_K)))
        hour = distribution_of(held, counts)
        for direction in directions.of(hour, EXACT, float(np.log(5)), bins_of=held):
            if direction.name != "missing":
                mean = float(direction.scores_K[2:-1] @ shares_K)
                failed.setdefault(direction.name, []).append((mean > direction.high, mean < direction.low))
    assert set(failed) == {"location", "spread", "outside"}
    assert all((np.mean(times, axis=0) <= 0.2).all() for times in failed.values())
    assert kind != "even" or np.any(failed["location"]), "a bound that never fails tells nothing"


def test_what_the_hour_had_outside_is_no_news_and_more_of_it_is() -> None:
    rng = np.random.default_rng(2)
    known = NumericReference.of(rng.random(5_000))
    reference = Reference(samples=5_000, inputs={"x": known})

    def drawn(rows: int, outside: float) -> Observation:
        values = np.where(rng.random(rows) < outside, 2.0, rng.random(rows))
        return Observation(rows=rows, inputs={"x": known.count(values)})

    before, hourly = drawn(2_000, 0.03), detector(reference, "0")
    assert not any(hourly.step(before, drawn(500, 0.03)).alarm for _ in range(20))
    verdicts = [hourly.step(before, drawn(500, 0.12)) for _ in range(9)]
    assert "outside up" in {one.direction for verdict in verdicts for one in verdict.alarming}


def test_other_categories_of_an_hour_are_a_share_as_any_is() -> None:
    held = CategoricalReference.of(["a", "b"], [600, 400])
    hour = distribution_of(held, CategoricalCounts(known=np.asarray([900, 1]), other=99, missing=0))
    found = {one.name: one for one in directions.of(hour, EXACT, float(np.log(100)), bins_of=held)}
    assert found["other categories"].mean == pytest.approx(0.099)
    assert 0.1 < found["other categories"].high < 0.15
