"""How far the rows of a window are from those of the reference, as far as counts can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.observation import Counts, Observation
from forgeline.bundle.reference import Distribution, Reference
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference

Rows = NDArray[np.int64]

_GROUPS = 16
_FEWEST_IN_GROUP = 5
"""Rows of the reference that neighbouring bins are joined to, as usual in tests of counts."""


def divergence(reference: Reference, observation: Observation) -> float:
    """The chi-squared divergence of the feature that moved farthest, over what chance alone would show.

    Rows that are weighted to look like the window are worth 1 / (1 + divergence) of as many that need no weights:
    A. Kong, A note on importance sampling using standardized weights, technical report 348, University of Chicago
    (1992). One feature can show less of a move than all of them together have, never more.
    """
    found = (divergence_of(known, seen) for known, seen in _pairs(reference, observation))
    return max(found, default=0.0)


def divergence_of(known: Distribution, seen: Counts) -> float:
    """That of one feature."""
    if isinstance(known, NumericReference) and isinstance(seen, NumericCounts):
        before, now = _bins(known, seen)
    elif isinstance(known, CategoricalReference) and isinstance(seen, CategoricalCounts):
        before, now = _categories(known, seen)
    else:
        return 0.0
    rows, window = int(before.sum()), int(now.sum())
    if not rows or not window:
        return 0.0
    before, now = _joined(before, now)
    shares, others = before / rows, now / window
    by_chance = (len(before) - 1) * (1 / rows + 1 / window)
    return max(float(((others - shares) ** 2 / shares).sum()) - by_chance, 0.0)


def outside(reference: Reference, observation: Observation) -> float:
    """Of the input that has most of them, the share of values beyond the range of the training rows."""
    shares = [
        (seen.below + seen.above) / seen.known
        for name, seen in observation.inputs.items()
        if isinstance(seen, NumericCounts) and seen.known and name in reference.inputs
    ]
    return max(shares, default=0.0)


def moved(known: CategoricalReference, seen: CategoricalCounts) -> float:
    """Total variation of two sets of shares, less what is to be expected by chance."""
    before, now = _categories(known, seen)
    if not before.sum() or not now.sum():
        return 0.0
    shares, others = before / before.sum(), now / now.sum()
    # The mean absolute value of a normal variable, of every category.
    chance = np.sqrt(2 / np.pi * shares * (1 - shares) * (1 / before.sum() + 1 / now.sum())).sum() / 2
    return max(float(np.abs(others - shares).sum() / 2 - chance), 0.0)


def _pairs(reference: Reference, observation: Observation) -> Iterator[tuple[Distribution, Counts]]:
    sides: list[tuple[Mapping[str, Distribution], Mapping[str, Counts]]]
    sides = [(reference.inputs, observation.inputs), (reference.outputs, observation.outputs)]
    for known, seen in sides:
        yield from ((known[name], counts) for name, counts in seen.items() if name in known)


def _bins(known: NumericReference, seen: NumericCounts) -> tuple[Rows, Rows]:
    """Values beyond the range are with the outermost ones."""
    now = seen.bins.copy()
    now[0] += seen.below
    now[-1] += seen.above
    return np.asarray(known.counts, dtype=np.int64), now


def _categories(known: CategoricalReference, seen: CategoricalCounts) -> tuple[Rows, Rows]:
    return np.asarray([*known.counts.values(), known.other]), np.asarray([*seen.known, seen.other])


def _joined(before: Rows, now: Rows) -> tuple[Rows, Rows]:
    """Neighbours together, until each group has enough rows of the reference."""
    enough = max(_FEWEST_IN_GROUP, -(-int(before.sum()) // _GROUPS))
    ends = [0]
    total = 0
    for place, count in enumerate(before.tolist(), start=1):
        total += count
        if total >= enough:
            ends.append(place)
            total = 0
    # What is left at the end is too little for a group of its own.
    starts = ends[:-1] or [0]
    return np.add.reduceat(before, starts), np.add.reduceat(now, starts)
