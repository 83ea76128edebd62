"""Distances and scores against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forgeline_jobs.data.generation import Modes
from forgeline_jobs.evaluate.sample_quality import frechet_distance, inception_style_score, modes_found

# Four points of mean 0 and covariance 1 exactly.
CROSS = np.asarray([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * np.sqrt(3 / 4)


def with_moments(mean: Any, covariance: Any) -> NDArray[np.float64]:
    points: NDArray[np.float64] = CROSS @ np.linalg.cholesky(np.asarray(covariance, dtype=np.float64)).T + mean
    return points


class TestFrechetDistance:
    def test_of_gaussians_that_do_not_commute(self) -> None:
        """tr (A B)^½ of 2x2 matrices is (tr AB + 2 (det A det B)^½)^½ = (8 + 2 * 3)^½."""
        ours = with_moments([0, 0], [[2, 1], [1, 2]])
        theirs = with_moments([3, 4], [[1, 0], [0, 3]])
        expected = 25 + 4 + 4 - 2 * np.sqrt(14)
        assert frechet_distance(ours, theirs) == pytest.approx(expected)
        assert frechet_distance(theirs, ours) == pytest.approx(expected)

    def test_in_one_dimension_it_is_of_means_and_deviations(self) -> None:
        ours, theirs = np.asarray([[-1.0], [1.0]]), np.asarray([[1.0], [7.0]])  # deviations √2 and 3 √2
        assert frechet_distance(ours, theirs) == pytest.approx(4**2 + (2 * np.sqrt(2)) ** 2)

    def test_fewer_samples_than_units(self) -> None:
        features = np.random.default_rng(0).normal(size=(5, 64))
        assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
        assert frechet_distance(features, features + 2) == pytest.approx(4 * 64)

    def test_what_has_no_distance_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 2"):
            frechet_distance(CROSS[:1], CROSS)
        with pytest.raises(ValueError, match="finite"):
            frechet_distance(np.full((3, 2), np.nan), CROSS)


class TestScore:
    def test_sure_and_varied_gives_the_number_of_values(self) -> None:
        assert inception_style_score([np.eye(10)]) == pytest.approx(10)
        assert inception_style_score([np.eye(6).repeat(2, 0), np.tile(np.eye(4), (3, 1))]) == pytest.approx(24)

    def test_unsure_or_all_alike_gives_one(self) -> None:
        assert inception_style_score([np.full((8, 4), 0.25)]) == pytest.approx(1)
        assert inception_style_score([np.eye(4)[[1, 1, 1]]]) == pytest.approx(1)

    def test_by_hand(self) -> None:
        sure = np.asarray([[0.9, 0.1], [0.1, 0.9]])
        expected = np.exp(0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5))
        assert inception_style_score([sure]) == pytest.approx(expected)


def test_modes_are_found_within_three_deviations() -> None:
    modes = Modes(centres=np.asarray([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), deviation=0.5)
    points = np.asarray([[0.0, 1.49], [0.0, -1.51], [10.0, 0.0], [9.0, 1.0], [4.0, 4.0], [0.0, 12.0]])
    assert modes_found(points, modes) == (2, 3 / 6)
