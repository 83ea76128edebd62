"""Directions in which a feature may move: a score for each cell, and what its mean may be without drift.

The reference is a sample of N rows that every window is compared with, so that its error does not average out. A
direction therefore has an interval of means instead of one mean: the reference's own, widened by a confidence bound
that is spent once and for all windows, and by the tolerance. A reference of an hour is counted in the bins of another
one, `bins_of`, with a bin for what lies outside at either end, and has other bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forgeline.distributions import CategoricalReference, NumericReference
from forgeline_deploy.detection import confidence, movement

if TYPE_CHECKING:
    from forgeline.bundle.reference import Distribution
    from forgeline_deploy.detection.spec import Tolerance

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# How the evidence of a feature is divided. What is common gets more: a location that moves.
_LOCATION, _SPREAD, _OUTSIDE, _MISSING, _CATEGORIES = 0.5, 0.2, 0.15, 0.15, 0.7
# Of categories that were named for having most rows: deviations of a Poisson count that are taken off.
_CAUTIOUS_STD = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction:
    """A score that is watched.

    Attributes:
        name: what moves.
        scores_K: score of a row by its cell; NaN where a row has no say.
        low, high: the mean score without drift lies between.
        variance: of the score, in the reference.
        mean: of the score, in the reference.
        weight: its part of the feature's evidence.
    """

    name: str
    scores_K: Floats
    low: float
    high: float
    variance: float
    mean: float
    weight: float


def bounds(distribution: Distribution) -> int:
    """How many one-sided confidence bounds the directions of a feature need, at most.

    Of numbers: two of each score, but one of the share outside; and one of all cumulative shares.
    """
    return 8 if isinstance(distribution, NumericReference) else 2 * len(distribution.counts) + 4


def of(
    distribution: Distribution, tolerance: Tolerance, log_odds: float, *, bins_of: Distribution | None = None
) -> list[Direction]:
    """The directions of a feature; none where the reference has no rows.

    Args:
        log_odds: ln(1 / d), where d is the probability that a single bound may fail with.
        bins_of: the reference in whose bins this one was counted; None where they are its own.
    """
    if isinstance(distribution, CategoricalReference):
        return list(_of_categories(distribution, tolerance, log_odds, own=bins_of is None))
    if isinstance(bins_of, NumericReference):
        return list(_of_numbers_in(bins_of, distribution, tolerance, log_odds))
    return list(_of_numbers(distribution, tolerance, log_odds))


def _of_numbers_in(
    bins_of: NumericReference, distribution: NumericReference, tolerance: Tolerance, log_odds: float
) -> Iterator[Direction]:
    # The outer cells are beyond the bins for what lies outside: no row is ever there.
    counts_K = np.asarray([0, *distribution.counts, 0], dtype=np.float64)
    rows = int(counts_K.sum())
    if not rows:
        return
    yield from _missing(distribution.missing, rows, len(counts_K), tolerance, log_odds)
    moves = movement.of(distribution, tolerance, bins_of=bins_of)
    location = confidence.of_location(rows, log_odds)
    for name, scores_K, weight, (down, up), (below, above) in (
        ("location", moves.location_K, _LOCATION, moves.location, (location, location)),
        ("spread", moves.spread_K, _SPREAD, moves.spread, confidence.of_spread(counts_K, log_odds)),
    ):
        mean, variance = _moments(scores_K, counts_K)
        low, high = mean - below - down, mean + above + up
        yield _of_known(
            Direction(name=name, scores_K=scores_K, low=low, high=high, variance=variance, mean=mean, weight=weight)
        )
    outside_K = np.zeros(len(counts_K))
    outside_K[[0, 1, -2, -1]] = 1.0
    yield _of_known(
        _direction("outside", outside_K, counts_K, _OUTSIDE, log_odds, down=np.inf, up=moves.outside),
    )


def _of_numbers(distribution: NumericReference, tolerance: Tolerance, log_odds: float) -> Iterator[Direction]:
    counts_K = np.asarray(distribution.counts, dtype=np.float64)
    rows = int(counts_K.sum())
    if not rows:
        return
    yield from _missing(distribution.missing, rows, len(counts_K) + 2, tolerance, log_odds)
    moves = movement.of(distribution, tolerance)
    # A further row is equally likely to fall into each of the N + 1 gaps between the rows of the reference: one is
    # below the smallest, one above the largest.
    gaps_K = np.concatenate([[1.0], counts_K, [1.0]])
    gaps_K[1] = max(gaps_K[1] - 1.0, 0.0)
    outside_K = np.zeros(len(gaps_K))
    outside_K[[0, -1]] = 1.0
    for name, scores_K, weight, (down, up) in (
        ("location", moves.location_K, _LOCATION, moves.location),
        ("spread", moves.spread_K, _SPREAD, moves.spread),
        ("outside", outside_K, _OUTSIDE, (np.inf, moves.outside)),
    ):
        yield _of_known(_direction(name, scores_K, gaps_K, weight, log_odds, down=down, up=up))


def _of_categories(
    distribution: CategoricalReference, tolerance: Tolerance, log_odds: float, *, own: bool
) -> Iterator[Direction]:
    named_K = np.asarray(list(distribution.counts.values()), dtype=np.float64)
    known_K = np.append(named_K, distribution.other)
    rows = known_K.sum()
    if not rows:
        return
    yield from _missing(distribution.missing, int(rows), len(known_K), tolerance, log_odds)
    allowed, each = tolerance.share, _CATEGORIES / max(len(named_K), 1)
    for number, name in enumerate(distribution.counts):
        scores_K = np.zeros(len(known_K))
        scores_K[number] = 1.0
        yield _of_known(_direction(f"share of {name}", scores_K, known_K, each, log_odds, down=allowed, up=allowed))
    other_K = np.zeros(len(known_K))
    other_K[-1] = 1.0
    if not own:
        # Which ones are named was told before these rows were seen: the others are a cell as any is.
        mean, variance = _moments(other_K, known_K)
    elif distribution.other:
        # Named are those of which the reference happened to have most, so that other rows have fewer of them.
        mean = 1 - np.maximum(named_K - _CAUTIOUS_STD * np.sqrt(named_K), 0.0).sum() / rows
        variance = mean * (1 - mean)
    else:
        # Of what is still unseen, categories with one row tell (I. J. Good, Biometrika 40 (1953), 237-264, eq. 9), with
        # the deviation of eq. 65: sqrt(n1 + 2 n2) rows.
        once, twice = float((named_K == 1).sum()), float((named_K == 2).sum())
        mean, variance = once / rows, (once + 2 * twice) / rows
    high = mean + confidence.of_own_bins(1.0 - mean, variance, rows, log_odds) + allowed
    yield _of_known(
        Direction(
            name="other categories",
            scores_K=other_K,
            low=0.0,
            high=high,
            variance=variance,
            mean=mean,
            weight=_OUTSIDE,
        )
    )


def _missing(missing: int, known: int, cells: int, tolerance: Tolerance, log_odds: float) -> Iterator[Direction]:
    """The share of missing values, of all rows."""
    scores_K, counts_K = np.zeros(1 + cells), np.zeros(1 + cells)
    scores_K[0] = 1.0
    counts_K[[0, 1]] = missing, known
    yield _direction("missing", scores_K, counts_K, _MISSING, log_odds, down=tolerance.share, up=tolerance.share)


def _direction(
    name: str, scores_K: Floats, counts_K: Floats, weight: float, log_odds: float, *, down: float, up: float
) -> Direction:
    """A direction with its interval, of which the reference has these counts."""
    rows = float(counts_K.sum())
    mean, variance = _moments(scores_K, counts_K)
    high = mean + confidence.of_own_bins(float(scores_K.max()) - mean, variance, rows, log_odds) + up
    low = mean - confidence.of_own_bins(mean - float(scores_K.min()), variance, rows, log_odds) - down
    return Direction(name=name, scores_K=scores_K, low=low, high=high, variance=variance, mean=mean, weight=weight)


def _moments(scores_K: Floats, counts_K: Floats) -> tuple[float, float]:
    """Mean and variance of a score in the reference."""
    mean = float(scores_K @ counts_K / counts_K.sum())
    return mean, max(float((scores_K - mean) ** 2 @ counts_K / counts_K.sum()), 0.0)


def _of_known(direction: Direction) -> Direction:
    """The same over all cells: a missing value, the first cell, has no say."""
    return replace(direction, scores_K=np.concatenate([[np.nan], direction.scores_K]))
