"""Scores of numbers by their rank in the reference, and how far a tolerated change may move their means.

A tolerance in sigma is about rows: none may have moved by more than so many reference deviations, in any direction.
A tolerance in total variation is about shares of rows: so many may be anywhere. Where tails are very heavy, a
deviation says nothing (that of a Cauchy sample is as large as its largest value), and sigma is read as total variation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from forgeline.distributions import NumericReference
    from forgeline_deploy.detection.spec import Tolerance

Floats = NDArray[np.float64]

HEAVY = 2.5
"""Tails are very heavy where the deviation is more than this times that of a normal with the same quartiles."""
_QUARTILES_APART = 1.3489795
_POINTS = 16  # of each bin, for means over values of which only the bin is known


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """Scores by bin, the outer cells included [K], and what the tolerance may do.

    Attributes:
        location_K: middle rank of the bin, 0 to 1: Wilcoxon's scores.
        spread_K: squared distance from the middle rank: Mood's scores (A. M. Mood, Ann. Math. Stat. 25 (1954), 514).
        location, spread: how far down and up the mean score may move.
        outside: how much the share of rows outside the reference may grow.
        cumulative: how far a cumulative share may move.
    """

    location_K: Floats
    spread_K: Floats
    location: tuple[float, float]
    spread: tuple[float, float]
    outside: float
    cumulative: float


def of(distribution: NumericReference, tolerance: Tolerance, *, bins_of: NumericReference | None = None) -> Movement:
    """Of a column that has values.

    Args:
        bins_of: the reference that says what a deviation is, whether it tells something, and what lies outside; None
            where the distribution itself does.
    """
    known = distribution if bins_of is None else bins_of
    counts_K = np.asarray(distribution.counts, dtype=np.float64)
    until_K = np.cumsum(counts_K) / counts_K.sum()
    ranks_K = until_K - counts_K / counts_K.sum() / 2
    ranks_K = np.concatenate([ranks_K[:1], ranks_K, ranks_K[-1:]])
    spread_K = (ranks_K - 0.5) ** 2
    if in_sigma(known, tolerance):
        distance = tolerance.amount * known.deviation
        moved = _moved_by(distribution, distance, inside=(known.minimum, known.maximum))
        return Movement(location_K=ranks_K, spread_K=spread_K, **moved)
    share = tolerance.share
    reach = share * float(np.ptp(spread_K))
    return Movement(
        location_K=ranks_K,
        spread_K=spread_K,
        location=(share * float(np.ptp(ranks_K)),) * 2,
        spread=(reach, reach),
        outside=share,
        cumulative=share,
    )


def in_sigma(distribution: NumericReference, tolerance: Tolerance) -> bool:
    """Whether a tolerance counts deviations of this column, rather than rows."""
    return tolerance.unit == "sigma" and tolerance.amount > 0 and not very_heavy(distribution)


def very_heavy(distribution: NumericReference) -> bool:
    """Whether the deviation says nothing about the column; so it is of constants, which have none."""
    counts_K = np.asarray(distribution.counts, dtype=np.float64)
    if not counts_K.sum() or not distribution.deviation:
        return True
    low, high = np.interp([0.25, 0.75], np.append(0.0, np.cumsum(counts_K) / counts_K.sum()), _edges(distribution))
    return bool(distribution.deviation > HEAVY * (high - low) / _QUARTILES_APART)


def _edges(distribution: NumericReference) -> Floats:
    return np.asarray([distribution.minimum, *distribution.edges, distribution.maximum])


def _moved_by(distribution: NumericReference, distance: float, *, inside: tuple[float, float]) -> dict[str, Any]:
    """What rows that move by at most a distance do to the means, if values lie evenly in their bins."""
    low, high = inside
    counts_K, edges = np.asarray(distribution.counts, dtype=np.float64), _edges(distribution)
    ranks = np.append(0.0, np.cumsum(counts_K) / counts_K.sum())
    inner = (np.arange(_POINTS) + 0.5) / _POINTS
    points = (edges[:-1, None] + np.diff(edges)[:, None] * inner).ravel()
    weights = np.repeat(counts_K / counts_K.sum() / _POINTS, _POINTS)
    here, below, above = (np.interp(points + step, edges, ranks) for step in (0.0, -distance, distance))
    around = (below <= 0.5) & (above >= 0.5)
    ends = (below - 0.5) ** 2, (above - 0.5) ** 2
    within = (points >= low) & (points <= high)
    spread = float(weights @ (here - 0.5) ** 2)
    shifts = [np.abs(np.interp(edges + step, edges, ranks) - ranks).max() for step in (-distance, distance)]
    return {
        "location": (float(weights @ (here - below)), float(weights @ (above - here))),
        "spread": (
            spread - float(weights @ np.where(around, 0.0, np.minimum(*ends))),
            float(weights @ np.maximum(*ends)) - spread,
        ),
        "outside": float(weights[within & ((points - distance < low) | (points + distance > high))].sum()),
        "cumulative": float(max(shifts)),
    }
