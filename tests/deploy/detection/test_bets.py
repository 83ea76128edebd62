"""Bets do not grow on average without drift, and grow with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from forgeline.distributions import CategoricalReference, NumericReference
from forgeline_deploy.detection import Tolerance, bets, directions
from forgeline_deploy.detection.directions import Direction
from forgeline_deploy.detection.watch import Watch

LOG_ODDS = np.log(700.0)
EXACT = Tolerance.parse(0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=2, max_size=12).filter(any),
    st.integers(0, 50),
    st.sampled_from(["0", "0.05 sigma", "0.02 tv"]),
    st.data(),
)
def test_a_row_multiplies_a_bet_by_at_most_one_on_average(
    counts: list[int], missing: int, tolerance: str, data: st.DataObject
) -> None:
    """Exactly, for any shares of the cells whose mean scores lie between the bounds, on either side of a bet."""
    reference = NumericReference(
        edges=tuple(float(edge) for edge in range(1, len(counts))),
        counts=tuple(counts),
        missing=missing,
        mean=len(counts) / 2,
        std=max(len(counts) / 4, 0.1),
        minimum=0.0,
        maximum=float(len(counts)),
    )
    found = directions.of(reference, Tolerance.parse(tolerance), float(LOG_ODDS))
    raw = data.draw(st.lists(st.floats(0, 1), min_size=len(counts) + 3, max_size=len(counts) + 3).filter(any))
    for direction in found:
        shares_K = np.asarray(raw) / sum(raw)
        shares_K = _within(direction, shares_K)
        placed = bets.place([direction])
        if shares_K is None or not len(placed.weights_J):
            continue
        assert (shares_K @ np.exp(placed.log_factors_KJ)).max(initial=0.0) <= 1 + 1e-9


def _within(direction: Direction, shares_K: np.ndarray) -> np.ndarray | None:
    """The shares, mixed with those of a cell at the other end until the mean score is within the bounds."""
    says = ~np.isnan(direction.scores_K)
    scores_K = np.where(says, direction.scores_K, 0.0)
    if not shares_K[says].sum():
        return shares_K
    mean = float(scores_K @ shares_K) / float(shares_K[says].sum())
    bound = direction.high if mean > direction.high else direction.low
    if direction.low <= mean <= direction.high:
        return shares_K
    cells = np.flatnonzero(says)
    end = cells[np.argmin(scores_K[says]) if mean > bound else np.argmax(scores_K[says])]
    if (mean - bound) * (scores_K[end] - bound) >= 0:
        return None
    mixed = (mean - bound) / (mean - scores_K[end])
    known = shares_K[says].sum()
    shares_K = shares_K.copy()
    shares_K[says] *= 1 - mixed
    shares_K[end] += mixed * known
    return shares_K


def _whole(known: NumericReference, cumulative: Callable[[np.ndarray], np.ndarray], *, step: float) -> np.ndarray:
    """What the cells truly hold, missing ones first; values are multiples of the step, or 0 where they are not."""
    until = cumulative(np.asarray([known.minimum - step, *known.edges, known.maximum]))
    return np.concatenate([[0.0], np.diff(until, prepend=0.0, append=1.0)])


@pytest.mark.parametrize("kind", ["continuous", "counted"])
def test_confidence_bounds_hold_as_often_as_they_say(kind: str) -> None:
    """Of 1,000 references of 300 rows each, with bounds that may fail in one of five on either side."""
    rng = np.random.default_rng(1)
    failed: dict[str, list[int]] = {}
    for _ in range(1_000):
        if kind == "continuous":
            known = NumericReference.of(rng.random(300))
            shares_K = _whole(known, lambda values: values, step=0)
        else:
            known = NumericReference.of(rng.poisson(3.0, 300))
            shares_K = _whole(known, poisson(3.0).cdf, step=1)
        for direction in directions.of(known, EXACT, float(np.log(5))):
            if direction.name != "missing":
                mean = float(np.nan_to_num(direction.scores_K) @ shares_K)
                failed.setdefault(direction.name, []).append(mean > direction.high)
    assert {name: np.mean(times) <= 0.2 for name, times in failed.items()} == dict.fromkeys(failed, True)
    assert any(failed["location"]), "a bound that never fails tells nothing"


def test_what_a_reference_has_not_seen_is_bounded_as_often_as_it_says() -> None:
    """Rows of categories that are new to a reference of 500 rows, of which there are many rare ones."""
    rng = np.random.default_rng(2)
    shares = 1 / np.arange(1.0, 101)
    shares /= shares.sum()
    failed = []
    for _ in range(400):
        counts = rng.multinomial(500, shares)
        seen = np.flatnonzero(counts)
        known = CategoricalReference.of([str(one) for one in seen], counts[seen])
        [other] = [one for one in directions.of(known, EXACT, float(np.log(20))) if one.name == "other categories"]
        failed.append(1 - shares[seen].sum() > other.high)
    assert np.mean(failed) <= 0.05


def test_bets_win_on_what_they_are_placed_on() -> None:
    rng = np.random.default_rng(3)
    known = NumericReference.of(rng.standard_normal(20_000))
    watch = Watch.of("x", "input", known, EXACT, float(LOG_ODDS))
    best = {}
    for what, values in {
        "location up": rng.standard_normal(2_000) + 0.3,
        "location down": rng.standard_normal(2_000) - 0.3,
        "spread up": rng.standard_normal(2_000) * 1.3,
        "spread down": rng.standard_normal(2_000) / 1.3,
        "outside up": np.concatenate([rng.standard_normal(1_900), rng.choice([-50.0, 50.0], 100)]),
        "missing up": np.where(rng.random(2_000) < 0.02, np.nan, rng.standard_normal(2_000)),
    }.items():
        counts = known.count(values)
        window = np.asarray([counts.missing, counts.below, *counts.bins, counts.above])
        gains = watch.log_gains(window)
        best[what] = watch.placed.names_J[int(gains.argmax())]
        assert gains.max() > np.log(2_000)
    assert best == {what: what for what in best}


@pytest.mark.parametrize("values", [[3.0] * 100, [np.nan] * 50, [1.0], [0.0, 1.0]])
def test_columns_that_say_little_are_no_trouble(values: list[float]) -> None:
    known = NumericReference.of(np.asarray(values))
    watch = Watch.of("x", "input", known, Tolerance.parse("0.05 sigma"), float(LOG_ODDS))
    assert np.isfinite(watch.placed.log_factors_KJ).all()
    window = np.asarray([0, 0, *known.counts, 0])
    assert (watch.log_gains(window) <= 0).all()
    assert float(watch.sudden(window)[1]) == 1
