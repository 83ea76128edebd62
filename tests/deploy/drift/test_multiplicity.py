"""Benjamini and Hochberg's procedure, against SciPy's and against its own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from forgeline_deploy.drift.multiplicity import adjusted, together

probabilities = st.lists(st.floats(1e-12, 1), min_size=1, max_size=30)


@given(probabilities)
def test_it_is_the_step_up_procedure(p_values: list[float]) -> None:
    np.testing.assert_allclose(adjusted(p_values), false_discovery_control(p_values), rtol=1e-9)


@given(probabilities, st.sampled_from([0.01, 0.05, 0.2]))
def test_what_is_found_is_what_the_paper_finds(p_values: list[float], rate: float) -> None:
    """Let k be the largest i with p_(i) ≤ q i / m; the k smallest are found."""
    ordered, m = np.sort(p_values), len(p_values)
    steps = rate * np.arange(1, m + 1) / m
    if np.isclose(ordered, steps, rtol=1e-9).any():
        return  # which side of a step it is on is a matter of rounding
    passing = np.flatnonzero(ordered <= steps)
    assert int((adjusted(p_values) <= rate).sum()) == (passing[-1] + 1 if len(passing) else 0)


def test_tests_of_one_column_count_together() -> None:
    assert together([0.01, 0.4]) == pytest.approx(0.02)
    assert together([0.9, 0.8]) == 1
    assert together([]) == 1
