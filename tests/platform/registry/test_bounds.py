"""Bounds and tests that a gate rests on: against other implementations, summed over all results, and simulated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from forgeline.registry import bounds


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_exact(wins: int, losses: int) -> None:
    p = bounds.mcnemar_p(wins, losses)
    if wins + losses:
        assert p == pytest.approx(stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue)
    if wins > losses:
        two_sided = mcnemar([[1, wins], [losses, 1]], exact=True).pvalue
        assert two_sided == pytest.approx(min(1.0, 2 * p))
    assert bounds.not_worse_p(wins, losses, 200, 0.0) == p


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(n: int, data: st.DataObject, confidence: float) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = proportion_confint(hits, n, alpha=2 * (1 - confidence), method="beta")
    assert bounds.share_lower(hits, n, confidence) == pytest.approx(low)
    assert bounds.share_upper(hits, n, confidence) == pytest.approx(high)


def rejects_too_often(n: int, margin: float, alpha: float) -> float:
    """The largest chance, over all pairs of models that are worse by the margin, that the test finds otherwise."""
    results = [(wins, losses) for wins, losses in itertools.product(range(n + 1), repeat=2) if wins + losses <= n]
    found = np.array([bounds.not_worse_p(wins, losses, n, margin) <= alpha for wins, losses in results])
    counts = np.array([(wins, losses, n - wins - losses) for wins, losses in results])
    worst = 0.0
    for differing in np.linspace(margin, 1, 40):
        wins = (differing - margin) / 2
        shares = [wins, wins + margin, max(0.0, 1 - differing)]
        worst = max(worst, float(stats.multinomial.pmf(counts, n, np.array(shares) / sum(shares))[found].sum()))
    return worst


@pytest.mark.parametrize("margin", [0.05, 0.2])
def test_a_model_worse_by_the_margin_passes_no_more_often_than_the_level(margin: float) -> None:
    # Summed over all results, so that nothing is left to chance.
    assert rejects_too_often(14, margin, 0.05) <= 0.05 + 1e-6


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 300))
def test_the_test_and_the_score_bound_agree_but_near_the_level(wins: int, losses: int, both: int) -> None:
    n = wins + losses + both
    if n < 30:
        return
    p = bounds.not_worse_p(wins, losses, n, 0.05)
    gain = bounds.gain_lower(wins, losses, n, 0.95)
    assert gain <= (wins - losses) / n + 1e-9
    if p < 0.03:
        assert gain > -0.06
    if p > 0.1:
        assert gain < -0.04


def test_more_wins_never_make_it_less_sure() -> None:
    for losses in (0, 3, 9):
        chances = [bounds.not_worse_p(wins, losses, 120, 0.02) for wins in range(0, 20)]
        assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize(("draw", "mean"), [("normal", 0.0), ("exponential", -1.0), ("rare", -0.05 * 2.0)])
def test_the_bound_of_a_mean_covers_it(draw: str, mean: float) -> None:
    generator = np.random.default_rng(3)

    def sample() -> np.ndarray:
        if draw == "normal":
            return generator.normal(size=120)
        if draw == "exponential":
            return -generator.exponential(size=120)
        return -2.0 * (generator.random(120) < 0.05)

    runs = 200
    covered = sum(bounds.mean_lower(sample().astype(float), 0.9, seed=run) <= mean for run in range(runs))
    # What is meant is 90 %: no test of chance fails by chance alone here, since all seeds are fixed.
    assert covered / runs >= 0.85


def test_equal_losses_gain_nothing_and_lose_nothing() -> None:
    assert bounds.mean_lower(np.zeros(50), 0.95, seed=0) == 0.0


def test_the_bound_of_a_metric_leaves_out_what_has_none() -> None:
    values = np.arange(40.0)
    low = bounds.metric_lower(lambda rows: float(values[rows].mean()), 40, 0.95, seed=1)
    assert 15 < low < values.mean()
    assert np.isnan(bounds.metric_lower(lambda rows: float("nan"), 40, 0.95, seed=1))
