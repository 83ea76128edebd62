"""G and Fisher's test: against SciPy, and where draws and the chi-squared distribution meet; distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact, hypergeom

from forgeline_deploy.drift import contingency


def test_with_enough_rows_it_is_the_g_test() -> None:
    reference, window = np.array([400, 300, 300]), np.array([90, 50, 60])
    expected = chi2_contingency(np.stack([reference, window]), lambda_="log-likelihood", correction=False)
    assert contingency.p_value(reference, window) == pytest.approx(expected.pvalue, rel=1e-9)


def test_draws_agree_with_chi_squared_where_both_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, window = np.array([400, 300, 300]), np.array([90, 50, 60])
    smooth = contingency.p_value(reference, window)
    monkeypatch.setattr(contingency, "_ENOUGH_EXPECTED", 10**9)
    drawn = contingency.p_value(reference, window, draws=50_000)
    assert drawn == pytest.approx(smooth, abs=0.01)
    assert drawn == contingency.p_value(reference, window, draws=50_000), "the seed is fixed"


def test_few_rows_of_two_categories_are_fishers_test() -> None:
    reference, window = np.array([17, 3]), np.array([2, 4])
    exact = hypergeom(26, 7, 6)
    found = sum(float(exact.pmf(k)) for k in range(7) if _g(k) >= _g(4) - 1e-9)
    assert contingency.p_value(reference, window, draws=100_000) == pytest.approx(found, abs=0.005)


def _g(second: int) -> float:
    table = np.array([[20 - (7 - second) - 0, 7 - second], [6 - second, second]], dtype=float)
    table[0, 0] = 20 - table[0, 1]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    filled = table > 0
    return float(2 * (table[filled] * np.log(table[filled] / expected[filled])).sum())


def test_a_single_category_says_nothing() -> None:
    assert contingency.p_value(np.array([5, 0]), np.array([3, 0])) == 1


@given(st.integers(0, 12), st.integers(0, 30), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_shares_are_compared_by_fishers_test(marked: int, others: int, seen: int, rest: int) -> None:
    if marked + others == 0 or seen + rest == 0:
        return
    found = contingency.share_p_value(marked, marked + others, seen, seen + rest)
    table = [[marked, others], [seen, rest]]
    assert found == pytest.approx(fisher_exact(table).pvalue, rel=1e-6)
    more = contingency.share_p_value(marked, marked + others, seen, seen + rest, side="more")
    assert more == pytest.approx(fisher_exact(table, alternative="less").pvalue, rel=1e-6)


def test_distances_are_shares_of_rows() -> None:
    assert contingency.total_variation(np.array([50, 50]), np.array([10, 0])) == 0.5
    assert contingency.total_variation(np.array([50, 50]), np.array([5, 5])) == 0


def test_the_distance_by_chance_is_the_mean_without_drift() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(64, 1 / 64)
    pairs = [(rng.multinomial(500, shares), rng.multinomial(200, shares)) for _ in range(200)]
    found = np.mean([contingency.total_variation(*pair) for pair in pairs])
    assert np.mean([contingency.total_variation_by_chance(*pair) for pair in pairs]) == pytest.approx(found, rel=0.03)


def test_more_rows_than_can_be_drawn_from_are_compared_all_the_same() -> None:
    rare = np.asarray([600_000_000, 3, 600_000_000], dtype=np.int64)
    assert contingency.p_value(rare, rare) > 0.5
    assert contingency.p_value(rare, np.asarray([600_000_000, 90, 600_000_000], dtype=np.int64)) < 1e-6
    assert contingency.p_value(rare, np.asarray([600_900_000, 3, 599_100_000], dtype=np.int64)) < 1e-6
