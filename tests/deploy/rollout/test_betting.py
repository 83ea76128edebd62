"""E-values: bets that nobody wins where there is nothing to win, however often the wealth is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_deploy.rollout.betting import Sample, log_e_above, log_e_below, log_e_share_above, lower_bound

RUNS, ROWS, EVERY, THRESHOLD = 300, 3000, 100, 20.0
# 5 % of 300 runs, and three deviations of that.
MOST_WRONG = 15 + 3 * (15 * 0.95) ** 0.5


def sample(values: list[float], counts: list[int], low: float = -1.0, high: float = 1.0) -> Sample:
    return Sample(values=np.asarray(values), counts=np.asarray(counts, dtype=np.int64), low=low, high=high)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=2, max_size=6),
)
def test_a_bet_on_one_observation_wins_nothing_on_average(drawn: list[tuple[float, float]]) -> None:
    """The e-value of one observation, averaged over where it can lie, is at most 1 at the mean and above it."""
    values, weights = np.asarray(drawn).T
    weights = weights / weights.sum()
    mean = float(values @ weights)
    for asked in (mean, min(mean + 0.1, 1.0)):
        e_values = [np.exp(log_e_above(sample([value], [1]), asked)) for value in values]
        assert np.dot(e_values, weights) <= 1 + 1e-9
    below = [np.exp(log_e_below(sample([value], [1]), mean)) for value in values]
    assert np.dot(below, weights) <= 1 + 1e-9


@given(st.floats(0.001, 0.6), st.floats(0, 1))
def test_a_bet_on_a_share_wins_nothing_on_average(limit: float, part: float) -> None:
    true = limit * part
    e_values = np.exp([log_e_share_above(0, 1, limit), log_e_share_above(1, 1, limit)])
    assert e_values @ [1 - true, true] <= 1 + 1e-9


@pytest.mark.parametrize(("wrong", "worse_by"), [(0.05, 0.0), (0.3, 0.0), (0.07, 0.02)])
def test_looked_at_often_it_is_seldom_wrong(wrong: float, worse_by: float) -> None:
    draw = np.random.default_rng(0)
    found = 0
    for _ in range(RUNS):
        difference = (draw.random(ROWS) < wrong).astype(int) - (draw.random(ROWS) < wrong - worse_by)
        for end in range(EVERY, ROWS + 1, EVERY):
            counts = np.bincount(difference[:end] + 1, minlength=3)
            if log_e_above(sample([-1, 0, 1], counts.tolist()), worse_by) >= np.log(THRESHOLD):
                found += 1
                break
    assert found <= MOST_WRONG


@settings(max_examples=25)
@given(st.lists(st.integers(0, 400), min_size=3, max_size=3).filter(any))
def test_the_e_value_falls_as_the_mean_rises_and_the_interval_holds_the_mean(counts: list[int]) -> None:
    found = sample([-1, 0, 1], counts)
    means = np.linspace(-0.99, 0.99, 41)
    above = [log_e_above(found, mean) for mean in means]
    assert all(one >= other - 1e-9 for one, other in zip(above, above[1:], strict=False))
    low = lower_bound(lambda mean: log_e_above(found, mean), -1, 1, 40)
    high = -lower_bound(lambda mean: log_e_below(found, -mean), -1, 1, 40)
    assert low <= found.mean <= high
    assert log_e_above(found, low - 0.001) >= np.log(40) or low == -1


def test_of_other_order_or_in_parts_it_is_the_same_wealth() -> None:
    whole = log_e_above(sample([-1, 0, 1], [30, 400, 55]), 0.01)
    parts = log_e_above(sample([1, -1, 0, 1, 0], [15, 30, 100, 40, 300]), 0.01)
    assert whole == pytest.approx(parts, abs=1e-9)


def test_a_small_share_is_passed_soon_where_all_fails() -> None:
    assert log_e_share_above(3, 3, 0.01) > np.log(200)
    assert log_e_share_above(0, 10_000, 0.01) < 0
    assert log_e_share_above(100, 10_000, 0.01) < np.log(20)
