"""Bets against the reference: factors for each row by its cell, whose products over rows are e-values.

A bet that a score s has a mean over h multiplies what is put down by 1 + l (s - h) for every row. Under any
distribution with a mean of at most h it does not grow on average, whatever the number of rows and the other moments:
so the product over the rows of a window is an e-value (I. Waudby-Smith, A. Ramdas: Estimating means of bounded random
variables by betting, JRSS B 86 (2024), 1-27, Proposition 2). Of counts by cell, its logarithm is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgeline_deploy.detection.directions import Direction

Floats = NDArray[np.float64]

SIZES = (0.025, 0.05, 0.1, 0.2, 0.4)
"""Bets per deviation of the score; each is the best one for a mean that has moved by so many deviations."""
_SIZES_OF_MANY = (0.05, 0.15, 0.4)
_MANY = 8
# What a single row may lose at most of what was put down.
_MOST_LOST = 0.9
_ROOM = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Bets:
    """J bets on a feature with K cells.

    Attributes:
        log_factors_KJ: logarithm of the factor for a row, by cell and bet.
        weights_J: parts of what is put down, which add up to 1.
        names_J: direction of each bet, with its sign.
        open_J: whether there is room for the bet; others are not placed.
    """

    log_factors_KJ: Floats
    weights_J: Floats
    names_J: tuple[str, ...]
    open_J: NDArray[np.bool_]


def place(directions: Sequence[Direction], *, both_sides: bool = False) -> Bets:
    """Bets on every direction, upwards and downwards, of several sizes, where there is room for them.

    Args:
        both_sides: also name those that there is no room for, so that bets by other references are the same ones.
    """
    columns: list[Floats] = []
    weights: list[float] = []
    names: list[str] = []
    places: list[bool] = []
    sizes = SIZES if len(directions) <= _MANY else _SIZES_OF_MANY
    for direction in directions:
        sides = [side for side in (1.0, -1.0) if both_sides or _has_room(direction, side)]
        for side in sides:
            room = _has_room(direction, side)
            nothing = np.zeros((len(direction.scores_K), len(sizes)))
            columns.append(_log_factors(direction, side, np.asarray(sizes)) if room else nothing)
            places += [room] * len(sizes)
            weights += [direction.weight / len(sides) / len(sizes)] * len(sizes)
            names += [f"{direction.name} {'up' if side > 0 else 'down'}"] * len(sizes)
    if not columns:
        cells = len(directions[0].scores_K) if directions else 0
        none = np.zeros(0)
        return Bets(log_factors_KJ=np.zeros((cells, 0)), weights_J=none, names_J=(), open_J=none.astype(np.bool_))
    shares = np.asarray(weights) / sum(weights)
    return Bets(
        log_factors_KJ=np.concatenate(columns, axis=1),
        weights_J=shares,
        names_J=tuple(names),
        open_J=np.asarray(places),
    )


def _has_room(direction: Direction, side: float) -> bool:
    """Whether the mean could be farther out than it may be without drift."""
    scores = direction.scores_K[~np.isnan(direction.scores_K)]
    bound = direction.high if side > 0 else direction.low
    return bool((side * scores).max() - side * bound > _ROOM)


def _log_factors(direction: Direction, side: float, sizes_S: Floats) -> Floats:
    """Logarithm of the factor for a row, by cell and size of the bet [K, S]."""
    bound = direction.high if side > 0 else direction.low
    says_K = ~np.isnan(direction.scores_K)
    gains_K = np.where(says_K, side * (direction.scores_K - bound), 0.0)
    # At the bound, not in the reference: of something that the reference never had, there the variance is 0.
    far = float(np.ptp(direction.scores_K[says_K]))
    deviation = np.sqrt(direction.variance + abs(bound - direction.mean) * far)
    stakes_S = np.minimum(sizes_S / deviation, _MOST_LOST / max(-gains_K.min(), 1e-12))
    factors_KS: Floats = np.log1p(np.outer(gains_K, stakes_S))
    return factors_KS
