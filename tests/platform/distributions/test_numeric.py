"""Bins that hold equal shares, and counts in them: of parts in any order they add up to those of the whole."""

from __future__ import annotations

import json
import random
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forgeline.distributions import NumericCounts, NumericReference
from forgeline.distributions.numeric import BINS

floats = st.floats(-1e6, 1e6, allow_nan=False)
column = st.lists(st.one_of(floats, st.sampled_from([0.0, -0.0, 1.0, float("nan")])), min_size=1, max_size=200)


@given(column)
@settings(max_examples=100, deadline=None)
def test_every_value_is_counted_once(values: list[float]) -> None:
    reference = NumericReference.of(np.asarray(values))
    assert sum(reference.counts) + reference.missing == len(values)
    assert len(reference.counts) == len(reference.edges) + 1 <= BINS
    assert list(reference.edges) == sorted(set(reference.edges))
    counted = reference.count(np.asarray(values))
    assert counted.bins.tolist() == list(reference.counts)
    assert (counted.below, counted.above, counted.missing) == (0, 0, reference.missing)
    if reference.missing < len(values) and len(reference.counts) > 1:
        assert all(reference.counts)


@given(column, st.lists(st.integers(0, 255), max_size=200), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_counts_of_parts_add_up_to_the_whole(values: list[float], parts: list[int], shuffled: random.Random) -> None:
    wide = np.asarray(values)
    reference = NumericReference.of(wide[: len(wide) // 2 + 1])
    places = np.resize(np.asarray(parts or [0]), len(wide))
    counted = [reference.count(wide[places == part]) for part in range(256)]
    shuffled.shuffle(counted)
    assert reduce(add, counted) == reference.count(wide)


def test_256_replicas_count_as_one() -> None:
    rng = np.random.default_rng(0)
    reference = NumericReference.of(rng.standard_cauchy(5_000))
    seen = rng.standard_cauchy(100_000) + 0.1
    replicas = [reference.count(seen[rng.permutation(len(seen))[:0]]), *map(reference.count, np.array_split(seen, 256))]
    rng.shuffle(replicas)
    whole = reference.count(seen)
    assert reduce(add, replicas) == whole
    assert whole.rows == 100_000 and whole.below + whole.above > 0


def test_counts_of_a_column_take_less_than_1_kb() -> None:
    counted = NumericReference.of(np.random.default_rng(0).normal(size=10_000)).count(np.zeros(1))
    integers = [counted.below, counted.above, counted.missing, counted.steps, counted.minimum, counted.maximum]
    assert counted.bins.dtype == np.int64 and counted.bins.nbytes + 8 * len(integers) < 1024


def test_counts_of_other_bins_do_not_add_up() -> None:
    one, other = NumericReference.of(np.arange(3.0)), NumericReference.of(np.arange(9.0))
    with pytest.raises(ValueError, match="3 and in 9 bins"):
        one.count(np.zeros(1)) + other.count(np.zeros(1))
    assert one.count(np.zeros(1)) != "counts"


def test_bins_of_a_continuous_column_hold_equal_shares() -> None:
    values = np.random.default_rng(0).normal(size=6400)
    reference = NumericReference.of(values)
    assert len(reference.counts) == BINS
    assert max(reference.counts) - min(reference.counts) <= 2
    shifted = reference.count(values + 1)
    assert shifted.rows == 6400 and shifted.bins[-1] + shifted.above > 3 * reference.counts[-1]
    assert shifted.shift_std == pytest.approx(1 / reference.std, abs=1e-5)


def test_what_is_out_of_the_range_is_counted_apart() -> None:
    reference = NumericReference.of(np.arange(10.0))
    counted = reference.count(np.array([-1e9, 4.0, np.inf, 1e9, np.nan]))
    assert (counted.below, counted.bins.sum(), counted.above, counted.missing) == (1, 1, 2, 1)
    assert (counted.minimum, counted.maximum) == (-1e9, np.inf)


def test_a_column_of_few_values_has_few_bins() -> None:
    reference = NumericReference.of(np.array([0, 0, 0, 1, 1, 5]))
    assert reference.counts == (3, 2, 1)
    constant = NumericReference.of(np.full(5, 3.0))
    assert constant.counts == (5,)
    other = constant.count(np.array([2.9, 3.0, 3.1]))
    assert (other.below, other.bins.tolist(), other.above) == (1, [1], 1)
    nothing = NumericReference.of(np.full(3, np.nan))
    assert (nothing.counts, nothing.missing) == ((0,), 3)
    assert nothing.count(np.full(2, np.nan)).shift_std is None


@pytest.mark.parametrize("at", [-5.0, 0.0, 5.0])
def test_a_value_that_fills_several_bins_has_one_of_its_own(at: float) -> None:
    """Were it in one bin with its neighbours, it could move among them unseen."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random(4_000) < 0.4, at, np.clip(rng.normal(size=4_000), -5, 5))
    reference = NumericReference.of(values)
    [(place, count)] = [(i, n) for i, n in enumerate(reference.counts) if n > 1_000]
    assert count == (values == at).sum() and len(reference.counts) <= BINS
    assert reference.count(np.full(7, at)).bins[place] == 7
    assert reference.count(np.full(7, at - 1e-6)).bins[place] == 0


def test_a_resolution_takes_in_what_differs_by_rounding() -> None:
    saturated = np.array([0.2, 0.5, 0.9, *[1 - 6e-8] * 20])
    reference = NumericReference.of(saturated, resolution=1e-4)
    assert reference.count(np.full(5, 1.0)) != reference.count(np.full(5, 0.9))
    assert reference.count(np.full(5, 1.0)).bins.tolist() == reference.count(np.full(5, 1 - 6e-8)).bins.tolist()
    assert reference.count(np.full(5, 1.0)).above == 0


SOUND: dict[str, Any] = json.loads(NumericReference.of(np.arange(5.0)).model_dump_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": [0.0, 2.0, 1.0, 3.0]}, "ascend"),
        ({"edges": [0.0, 1.0, 2.0, float("nan")]}, "finite"),
        ({"edges": [0.0, 1.0, 2.0, 9.0]}, "outside the range"),
        ({"edges": [0.0, 1.0]}, "2 edges make 3 bins, got 5 counts"),
        ({"edges": [float(i) for i in range(2000)]}, "at most 1023"),
        ({"counts": [1, 1, 1, 1, -1]}, "greater than or equal to 0"),
        ({"counts": [1, 1, 1, 1, 1.5]}, "integer"),
        ({"counts": [1, 1, 1, 1, 10**30]}, "less than or equal"),
        ({"missing": -1}, "greater than or equal to 0"),
        ({"minimum": float("-inf")}, "finite"),
        ({"std": -1.0}, "greater than or equal to 0"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_a_reference_from_elsewhere_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NumericReference.model_validate(SOUND | change)
    assert isinstance(NumericReference.model_validate(SOUND).count(np.ones(1)), NumericCounts)
