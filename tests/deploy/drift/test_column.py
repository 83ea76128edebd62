"""What is found about one column: nulls, new categories, constants, and p-values that mean what they say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericReference
from forgeline_deploy.drift.column import compare_column


def test_a_shift_is_told_in_reference_deviations() -> None:
    rng = np.random.default_rng(0)
    reference = NumericReference.of(rng.normal(10, 2, 2_000))
    found = compare_column(reference, reference.count(rng.normal(11, 2, 500)))
    assert found.shift_std == pytest.approx(0.5, abs=0.1)
    assert found.p < 1e-9 and found.distance > found.by_chance + 0.05


def test_values_that_go_missing_are_drift_of_their_own() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=1_000)
    reference = NumericReference.of(values)
    gone = np.where(rng.random(300) < 0.05, np.nan, rng.normal(size=300))
    found = compare_column(reference, reference.count(gone))
    assert found.p < 1e-6 and found.reference_nulls == 0 and 0.02 < found.nulls < 0.08
    nothing = compare_column(reference, reference.count(np.full(50, np.nan)))
    assert nothing.p < 1e-20 and nothing.distance == 0 and nothing.shift_std is None


def test_a_constant_column_drifts_when_it_changes() -> None:
    reference = NumericReference.of(np.full(400, 3.0))
    assert compare_column(reference, reference.count(np.full(50, 3.0))).p == 1
    changed = compare_column(reference, reference.count(np.full(50, 3.5)))
    assert changed.p < 1e-9 and changed.outside == 1 and changed.shift_std is None


def test_a_new_category_is_found() -> None:
    reference = CategoricalReference.of(["basic", "pro"], [700, 300])
    found = compare_column(reference, reference.count({"basic": 130, "pro": 60, "enterprise": 10}))
    assert found.p < 1e-6 and found.outside == pytest.approx(0.05)
    only_new = compare_column(reference, reference.count({"enterprise": 30}))
    assert only_new.p < 1e-9 and only_new.distance == 1


def test_kinds_do_not_mix() -> None:
    numeric, categorical = NumericReference.of(np.arange(5.0)), CategoricalReference.of("ab", [1, 1])
    with pytest.raises(ValueError, match="a numeric reference"):
        compare_column(numeric, categorical.count({"a": 1}))


@pytest.mark.parametrize(("kind", "rows"), [("normal", 50), ("zeros", 200), ("counts", 50), ("cauchy", 200)])
def test_p_values_of_numbers_are_calibrated(kind: str, rows: int) -> None:
    """A fresh reference of 400 rows each time: were it taken for the truth, far too many would be small."""
    rng = np.random.default_rng(1)
    draws = {
        "normal": lambda n: rng.normal(size=n),
        "zeros": lambda n: np.where(rng.random(n) < 0.5, 0.0, rng.normal(size=n)),
        "counts": lambda n: rng.poisson(3, n).astype(float),
        "cauchy": lambda n: rng.standard_cauchy(n),
    }
    p_values = []
    for _ in range(200):
        reference = NumericReference.of(draws[kind](400))
        p_values.append(compare_column(reference, reference.count(draws[kind](rows))).p)
    # Three standard errors above the level.
    assert np.mean(np.asarray(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.asarray(p_values) <= 0.5) >= 0.3, "nor are they all large"


@pytest.mark.parametrize(("categories", "rows"), [(3, 50), (60, 200), (1_000, 200)])
def test_p_values_of_categories_are_calibrated(categories: int, rows: int) -> None:
    """Also where many categories are met in one of the samples only, or have no name in the reference."""
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, categories + 1)
    p_values = []
    for _ in range(100):
        seen, new = (Counter(rng.choice(categories, n, p=weights / weights.sum()).tolist()) for n in (1_000, rows))
        reference = CategoricalReference.of(map(str, seen), seen.values())
        counts = reference.count({str(name): count for name, count in new.items()})
        p_values.append(compare_column(reference, counts, draws=499).p)
    assert np.mean(np.asarray(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_values_of_no_named_category_alone_are_found_where_there_are_too_many_to_name() -> None:
    many = CategoricalReference.of([f"id {number}" for number in range(300)], [50] * 300)
    assert many.other
    same = CategoricalCounts(known=np.full(120, 1), other=180, missing=0)
    gone = CategoricalCounts(known=np.zeros(120, dtype=np.int64), other=300, missing=0)
    assert compare_column(many, same).p > 0.05
    assert compare_column(many, gone).p < 1e-6


def test_a_constant_that_stays_one_has_no_shift() -> None:
    for constant in (0.1, 0.3, 0.001, 44400.7):
        reference = NumericReference.of(np.full(399, constant))
        assert reference.std == 0
        assert compare_column(reference, reference.count(np.full(200, constant))).shift_std is None
