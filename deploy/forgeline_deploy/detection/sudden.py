"""p-values of one window against a finite reference, in closed form: they bound the exact ones from above.

The exact tests of `drift` walk over every split of the rows; a promise of 1 in 26,000 windows of 100 features asks
for p-values of 1e-7 in each of them. These bounds hold for any counts, any number of rows and of ties, and take the
reference for the sample that it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_HALVINGS = 60


def smirnov(reference_K: Integers, windows_BK: Integers, *, allowed: float = 0.0) -> tuple[Floats, Floats]:
    """Largest differences of cumulative shares [B], and their p-values [B].

    P(D >= d) <= C exp(-2 d^2 n N / (n + N)): with C = e for n = N (F. Wei, R. M. Dudley: Two-sample
    Dvoretzky-Kiefer-Wolfowitz inequalities, Statistics & Probability Letters 82 (2012), 636-644, Theorem 1); they found
    C = 2 by computation for unequal sizes, so that e is on the safe side. D is taken at the edges of bins only, which
    may be the reference's own quantiles: it is at most the D of all values.

    Args:
        reference_K: counts of the reference in K ordered bins.
        windows_BK: counts of B windows.
        allowed: what of each difference is tolerated, as a share.
    """
    rows_B, others = windows_BK.sum(axis=-1), int(reference_K.sum())
    if not others or not len(reference_K):
        return np.zeros(rows_B.shape), np.ones(rows_B.shape)
    expected_K = np.cumsum(reference_K) / others
    seen_BK = np.cumsum(windows_BK, axis=-1) / np.maximum(rows_B, 1)[..., None]
    largest_B = np.where(rows_B > 0, np.abs(seen_BK - expected_K).max(axis=-1), 0.0)
    size_B = rows_B * others / (rows_B + others)
    beyond_B = np.maximum(largest_B - allowed, 0.0)
    return largest_B, np.minimum(1.0, np.exp(1.0 - 2.0 * size_B * beyond_B**2))


def multinomial(reference_K: Integers, windows_BK: Integers, *, allowed: float = 0.0) -> tuple[Floats, Floats]:
    """G of the smaller sample against both together [B], and their p-values [B].

    Given what both have in each cell together, the smaller sample is drawn from it without replacement. For convex
    functions of a sum that is no more than drawing with replacement (W. Hoeffding, JASA 58 (1963), 13-30, Theorem 4),
    and of a multinomial in K cells E exp(t G / 2) <= (1 - t)^-(K - 1) (R. Agrawal: Finite-sample concentration of the
    multinomial in relative entropy, IEEE Trans. Inf. Theory 66 (2020), 6297-6302). Chernoff's bound of it is
    exp(-(K - 1)(u - 1 - ln u)) with u = G / 2 / (K - 1) > 1.

    Args:
        reference_K: counts of the reference in K cells without an order.
        windows_BK: counts of B windows.
        allowed: total variation that is tolerated.
    """
    rows_B, others = windows_BK.sum(axis=-1), int(reference_K.sum())
    if not others:
        return np.zeros(rows_B.shape), np.ones(rows_B.shape)
    pooled_BK = windows_BK + reference_K
    shares_BK = pooled_BK / (rows_B + others)[..., None]
    fewer_B = rows_B <= others
    smaller_BK = np.where(fewer_B[..., None], windows_BK, reference_K)
    size_B = np.where(fewer_B, rows_B, others)
    own_BK = smaller_BK / np.maximum(size_B, 1)[..., None]
    nearest_BK = _nearest(own_BK, shares_BK, allowed) if allowed > 0 else shares_BK
    ratios_BK = np.divide(own_BK, nearest_BK, out=np.ones_like(own_BK), where=own_BK > 0)
    half_B = np.maximum((smaller_BK * np.log(ratios_BK)).sum(axis=-1), 0.0)
    freedom_B = np.maximum((pooled_BK > 0).sum(axis=-1) - 1, 1)
    relative_B = np.maximum(half_B / freedom_B, 1.0)
    return 2 * half_B, np.exp(-freedom_B * (relative_B - 1.0 - np.log(relative_B)))


def _nearest(own_BK: Floats, shares_BK: Floats, allowed: float) -> Floats:
    """Of the shares within a total variation of `allowed`, those that make the own ones the most likely [B, K].

    Lagrange's conditions: where the own share is more than `high` times the given one, it is own / high; where it is
    less than `low` times, own / low; else unmoved; both such that `allowed` is moved. Where the own shares are within
    reach they are the answer.
    """
    reach_B = np.abs(own_BK - shares_BK).sum(axis=-1) / 2

    def moved(factor_B: Floats, sign: float) -> Floats:
        share_B: Floats = np.maximum(sign * (own_BK / factor_B[..., None] - shares_BK), 0.0).sum(axis=-1)
        return share_B

    # Upwards: factors over 1, of which larger ones move less. Downwards: under 1, of which smaller ones move less.
    over = [np.ones(reach_B.shape), np.maximum((own_BK / np.maximum(shares_BK, 1e-300)).max(axis=-1), 1.0)]
    under = [np.full(reach_B.shape, 1e-12), np.ones(reach_B.shape)]
    for _ in range(_HALVINGS):
        middle = (over[0] + over[1]) / 2
        more = moved(middle, 1.0) > allowed
        over = [np.where(more, middle, over[0]), np.where(more, over[1], middle)]
        middle = (under[0] + under[1]) / 2
        more = moved(middle, -1.0) > allowed
        under = [np.where(more, under[0], middle), np.where(more, middle, under[1])]
    found_BK = np.maximum(shares_BK, own_BK / over[1][..., None])
    low_BK = own_BK / under[0][..., None]
    found_BK = np.where(own_BK < shares_BK, np.minimum(shares_BK, low_BK), found_BK)
    found_BK = np.maximum(found_BK, np.where(own_BK > 0, 1e-300, 0.0))
    nearest_BK: Floats = np.where((reach_B <= allowed)[..., None], own_BK, found_BK)
    return nearest_BK
