"""Random numbers as a function of (seed, rank, batch)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.train.callbacks.randomness import fold

PLACES = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 4095), st.integers(0, 2**40))


@given(PLACES, PLACES)
def test_different_places_draw_different_numbers(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (fold(*one) == fold(*other)) == (one == other)


@given(PLACES)
def test_a_seed_fits_torch(place: tuple[int, int, int]) -> None:
    assert 0 <= fold(*place) < 2**63
