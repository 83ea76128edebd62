"""What a tolerance in deviations comes to, in ranks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from forgeline.distributions import NumericReference
from forgeline_deploy.detection import Tolerance, movement


def test_a_shift_of_a_normal_variable() -> None:
    """P(X < Y + d) of two normal variables is Φ(d / √2); a cumulative share moves by φ(0) d at most."""
    known = NumericReference.of(np.random.default_rng(0).standard_normal(50_000))
    moves = movement.of(known, Tolerance.parse("0.1 sigma"))
    wanted = float(ndtr(0.1 / np.sqrt(2))) - 0.5
    assert moves.location == pytest.approx((wanted, wanted), rel=0.05)
    assert moves.cumulative == pytest.approx(0.1 * 0.3989, rel=0.05)
    assert 0 < moves.outside < 0.01


@pytest.mark.parametrize(
    ("draw", "heavy"),
    [("standard_normal", False), ("standard_exponential", False), ("random", False), ("standard_cauchy", True)],
)
def test_heavy_tails_are_told(draw: str, heavy: bool) -> None:
    values = getattr(np.random.default_rng(0), draw)(5_000)
    assert movement.very_heavy(NumericReference.of(values)) is heavy


def test_a_tolerance_of_nothing_allows_nothing() -> None:
    for values in (np.arange(100.0), np.full(9, 2.0)):
        moves = movement.of(NumericReference.of(values), Tolerance.parse(0))
        assert (*moves.location, *moves.spread, moves.outside, moves.cumulative) == (0,) * 6


def test_more_tolerance_allows_more() -> None:
    known = NumericReference.of(np.random.default_rng(1).gamma(2.0, size=3_000))
    for unit in ("sigma", "tv"):
        found = [movement.of(known, Tolerance.parse(f"{amount} {unit}")) for amount in (0.01, 0.05, 0.2)]
        for kept in ("cumulative", "outside"):
            assert sorted(getattr(one, kept) for one in found) == [getattr(one, kept) for one in found]
        assert sorted(one.location for one in found) == [one.location for one in found]
