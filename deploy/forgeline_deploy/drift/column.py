"""One column of a window against its reference: how far it moved, and how surprising that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference
from forgeline_deploy.drift import contingency, smirnov
from forgeline_deploy.drift.multiplicity import together

if TYPE_CHECKING:
    from forgeline.bundle.observation import Counts
    from forgeline.bundle.reference import Distribution

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """What was found about a column.

    Attributes:
        nulls, reference_nulls: share of rows without a value.
        outside: share of rows with a value that the reference never had: out of its range, or of no category of it.
        distance: total variation of the bins, 0 to 1.
        by_chance: what distance samples of these sizes have on average without drift.
        shift_std: of numbers, how far their mean moved, in reference deviations.
        p: of all tests of the column together.
    """

    nulls: float
    reference_nulls: float
    outside: float
    distance: float
    by_chance: float
    shift_std: float | None
    p: float


def compare_column(reference: Distribution, counts: Counts, *, draws: int = contingency.DRAWS) -> ColumnDrift:
    """Compare a column's counts with its reference.

    Raises:
        ValueError: they are not of one column.
    """
    if isinstance(reference, NumericReference) and isinstance(counts, NumericCounts):
        return _numeric(reference, counts)
    if isinstance(reference, CategoricalReference) and isinstance(counts, CategoricalCounts):
        return _categorical(reference, counts, draws)
    raise ValueError(f"a {reference.kind} reference has no counts of the type {type(counts).__name__}")


def _numeric(reference: NumericReference, counts: NumericCounts) -> ColumnDrift:
    # What is out of the reference's range is two more bins, in which the reference has nothing.
    reference_K = np.asarray([0, *reference.counts, 0], dtype=np.int64)
    window_K = np.concatenate([[counts.below], counts.bins, [counts.above]]).astype(np.int64)
    tests = [smirnov.p_value(reference_K, window_K)] if _comparable(reference_K, window_K) else []
    tests += _nulls(reference.missing, int(reference_K.sum()), counts.missing, counts.known)
    return ColumnDrift(
        **_shares(reference.missing, reference_K, counts.missing, counts.rows, counts.below + counts.above),
        **_distances(reference_K, window_K),
        shift_std=counts.shift_std if reference.deviation and reference_K.any() else None,
        p=together(tests),
    )


def _categorical(reference: CategoricalReference, counts: CategoricalCounts, draws: int) -> ColumnDrift:
    named_K = np.asarray(list(reference.counts.values()), dtype=np.int64)
    # Which categories have no name was read off the reference's own rows. So its share of them is not that of other
    # rows, even without drift, and they are no cell of the test.
    tests = [contingency.p_value(named_K, counts.known, draws=draws)] if _comparable(named_K, counts.known) else []
    reference_K, window_K = np.append(named_K, reference.other), np.append(counts.known, counts.other)
    if counts.other and not reference.other:
        tests.append(_new_categories(named_K, counts))
    elif counts.other:
        tests.append(_named_by_fewer(named_K, reference.other, counts))
    tests += _nulls(reference.missing, int(reference_K.sum()), counts.missing, int(window_K.sum()))
    unknown = 0 if reference.other else counts.other
    return ColumnDrift(
        **_shares(reference.missing, reference_K, counts.missing, counts.rows, unknown),
        **_distances(reference_K, window_K),
        shift_std=None,
        p=together(tests),
    )


def _new_categories(named_K: Integers, counts: CategoricalCounts) -> float:
    """Whether the window has more rows of categories that the reference lacks than chance gives it.

    A row of a category that no other row has is as likely to be of either sample. Of the reference, these are the
    categories with one row, by which I. J. Good, Biometrika 40 (1953), 237-264, estimates what is still unseen.
    """
    once, rows = int((named_K == 1).sum()), int(counts.known.sum()) + counts.other
    return contingency.share_p_value(once, int(named_K.sum()), counts.other, rows, side="more")


def _named_by_fewer(named_K: Integers, other: int, counts: CategoricalCounts) -> float:
    """Whether fewer of the window's rows have one of the named categories than even a cautious reading expects.

    The named ones are those that the reference happened to have most of: of each, four deviations (of a Poisson count)
    are taken off before its share is held against the window.
    """
    rows = int(counts.known.sum()) + counts.other
    at_least = np.maximum(named_K - 4 * np.sqrt(named_K), 0).sum() / (named_K.sum() + other)
    return float(bdtr(int(counts.known.sum()), rows, at_least))


def _nulls(reference: int, reference_known: int, window: int, window_known: int) -> list[float]:
    """The test of missing values, where there are any: without, it would find nothing and cost half of the others."""
    if not reference + window:
        return []
    return [contingency.share_p_value(reference, reference + reference_known, window, window + window_known)]


def _comparable(reference_K: Integers, window_K: Integers) -> bool:
    return bool(reference_K.any() and window_K.any())


def _distances(reference_K: Integers, window_K: Integers) -> dict[str, float]:
    if not _comparable(reference_K, window_K):
        return {"distance": 0.0, "by_chance": 0.0}
    return {
        "distance": contingency.total_variation(reference_K, window_K),
        "by_chance": contingency.total_variation_by_chance(reference_K, window_K),
    }


def _shares(missing: int, reference_K: Integers, nulls: int, rows: int, outside: int) -> dict[str, float]:
    reference_rows = missing + int(reference_K.sum())
    return {
        "nulls": nulls / max(rows, 1),
        "reference_nulls": missing / max(reference_rows, 1),
        "outside": outside / max(rows, 1),
    }
