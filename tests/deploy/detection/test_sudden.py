"""Closed forms bound exact p-values from above, and are p-values against a reference that is a sample itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_hypergeom

from forgeline_deploy.detection import sudden
from forgeline_deploy.drift import smirnov

COUNTS = st.lists(st.integers(0, 40), min_size=2, max_size=8)


def _array(counts: list[int]) -> np.ndarray:
    return np.asarray(counts, dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_smirnov_is_at_least_the_exact_p_value(data: st.DataObject) -> None:
    reference = _array(data.draw(COUNTS))
    seen = _array(data.draw(st.lists(st.integers(0, 40), min_size=len(reference), max_size=len(reference))))
    if not reference.sum() or not seen.sum():
        return
    statistic, p = sudden.smirnov(reference, seen)
    assert statistic == pytest.approx(smirnov.largest_difference(reference, seen))
    exact = smirnov.p_value(reference, seen)
    assert p >= exact * (1 - 1e-9) or exact <= smirnov.SMALLEST_P


@pytest.mark.parametrize("pooled", [(6, 5, 4), (1, 1, 1, 1, 9), (12, 1, 1), (3, 3, 3, 3)])
@pytest.mark.parametrize("rows", [3, 6, 9])
def test_g_is_a_p_value_of_every_split(pooled: tuple[int, ...], rows: int) -> None:
    """All splits are enumerated: P(p <= level) is at most the level, at each level that occurs."""
    pooled_K = _array(list(pooled))
    if rows >= pooled_K.sum():
        return
    grids = np.meshgrid(*(np.arange(count + 1) for count in pooled), indexing="ij")
    splits = np.stack([grid.ravel() for grid in grids], axis=1)
    splits = splits[splits.sum(axis=1) == rows]
    chances = multivariate_hypergeom.pmf(splits, m=pooled_K, n=rows)
    p = np.asarray([float(sudden.multinomial(pooled_K - split, split)[1]) for split in splits])
    for level in np.unique(p):
        assert chances[p <= level * (1 + 1e-12)].sum() <= level + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_and_empty_cells_change_nothing_of_g(data: st.DataObject) -> None:
    reference = _array(data.draw(COUNTS))
    seen = _array(data.draw(st.lists(st.integers(0, 40), min_size=len(reference), max_size=len(reference))))
    order = np.asarray(data.draw(st.permutations(range(len(reference)))))
    base = sudden.multinomial(reference, seen)[1]
    assert sudden.multinomial(reference[order], seen[order])[1] == pytest.approx(base)
    assert sudden.multinomial(np.append(reference, 0), np.append(seen, 0))[1] == pytest.approx(base)


def test_many_windows_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(0)
    reference, windows = rng.multinomial(900, np.full(9, 1 / 9)), rng.multinomial(70, np.full(9, 1 / 9), size=5)
    for test in (sudden.smirnov, sudden.multinomial):
        for allowed in (0.0, 0.03):
            together = test(reference, windows, allowed=allowed)
            alone = [test(reference, one, allowed=allowed) for one in windows]
            assert np.allclose(together, np.transpose(alone), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0.0, 0.3), st.floats(0.0, 0.3))
def test_more_tolerance_never_makes_a_window_more_surprising(data: st.DataObject, one: float, other: float) -> None:
    reference = _array(data.draw(COUNTS))
    seen = _array(data.draw(st.lists(st.integers(0, 400), min_size=len(reference), max_size=len(reference))))
    low, high = sorted((one, other))
    for test in (sudden.smirnov, sudden.multinomial):
        assert test(reference, seen, allowed=high)[1] >= test(reference, seen, allowed=low)[1] - 1e-6


def test_what_is_within_reach_is_no_surprise() -> None:
    reference, seen = _array([50_000, 50_000]), _array([5300, 4700])
    assert sudden.multinomial(reference, seen, allowed=0.04)[1] == 1
    assert sudden.multinomial(reference, seen)[1] < 1e-3


def test_without_rows_on_either_side_nothing_is_found() -> None:
    nothing, some = _array([0, 0]), _array([3, 9])
    for test in (sudden.smirnov, sudden.multinomial):
        assert test(nothing, some)[1] == test(some, nothing)[1] == test(nothing, nothing)[1] == 1
