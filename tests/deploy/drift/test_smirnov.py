"""The exact p-value: against every split written out, against SciPy's for data without ties, and where it is tiny."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from forgeline_deploy.drift.smirnov import SMALLEST_P, largest_difference, p_value


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_it_is_the_share_of_splits_that_differ_as_much(counts: list[tuple[int, int]]) -> None:
    reference, window = np.asarray(counts, dtype=np.int64).T
    if not reference.any() or not window.any() or (reference + window).sum() > 12:
        return
    labels = np.repeat(np.arange(len(reference)), reference + window)
    found, as_large, splits = largest_difference(reference, window), 0, 0
    for chosen in combinations(range(len(labels)), int(window.sum())):
        split = np.bincount(labels[list(chosen)], minlength=len(reference))
        as_large += largest_difference(reference + window - split, split) >= found - 1e-12
        splits += 1
    assert p_value(reference, window) == pytest.approx(as_large / splits, rel=1e-9)


@pytest.mark.parametrize(("reference_rows", "rows", "shift"), [(80, 30, 0.0), (80, 30, 0.6), (60, 60, 1.5)])
def test_without_ties_it_is_the_exact_test(reference_rows: int, rows: int, shift: float) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=reference_rows), rng.normal(size=rows) + shift
    of_both = np.argsort(np.concatenate([one, other]))
    reference, window = (of_both < reference_rows).astype(np.int64), (of_both >= reference_rows).astype(np.int64)
    expected = ks_2samp(one, other, method="exact")
    assert largest_difference(reference, window) == pytest.approx(expected.statistic)
    assert p_value(reference, window) == pytest.approx(expected.pvalue, rel=1e-9)


def test_tiny_probabilities_are_not_lost_and_end_somewhere() -> None:
    # Of C(30, 5) splits, the one that puts all of the last bin into the window differs as much.
    assert p_value(np.array([12, 13, 0]), np.array([0, 0, 5])) == pytest.approx(1 / math.comb(30, 5), rel=1e-9)
    assert p_value(np.full(64, 1000), np.r_[np.zeros(63, dtype=np.int64), 10_000]) == SMALLEST_P


def test_equal_shares_and_a_single_bin_say_nothing() -> None:
    assert p_value(np.array([40, 60]), np.array([2, 3])) == 1
    assert p_value(np.array([40]), np.array([3])) == 1


def test_large_samples_agree_with_kolmogorovs_distribution() -> None:
    """Of 2,000 bins and many rows, what is left of the difference between bins and none is small."""
    rng = np.random.default_rng(0)
    edges = np.linspace(-4, 4, 2_000)
    one, other = rng.normal(size=40_000), rng.normal(size=20_000) + 0.012
    reference, window = (np.bincount(np.searchsorted(edges, v), minlength=2_001) for v in (one, other))
    assert p_value(reference, window) == pytest.approx(ks_2samp(one, other, method="asymp").pvalue, rel=0.1)
