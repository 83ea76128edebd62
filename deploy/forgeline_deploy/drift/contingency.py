"""Two-sample tests of counts without an order: G over categories, and Fisher's exact test of two of them.

All are tests given the pooled counts, so that a reference of a few hundred rows is not taken for the truth.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln

from forgeline_deploy.drift.multiplicity import together

Counts = NDArray[np.int64]

# With fewer expected rows in any cell than this, the chi-squared distribution is not trusted and splits are drawn. The
# usual 5 (Cochran, Biometrics 10 (1954), 417-451) is for Pearson's statistic at 5 %; G is too large there, and a
# ranking over many columns reads far smaller p-values.
_ENOUGH_EXPECTED = 20
DRAWS = 9_999
"""Splits that are drawn at least; the smallest p-value of them is 1e-4."""
_SEED = 0
_MOST_DRAWN_FROM = 10**9  # by NumPy's generator
_CELLS_AT_ONCE = 2_000_000
# Equal tables differ by rounding where cells are summed in another order.
_ROUNDING = 1e-9


def p_value(reference_K: Counts, window_K: Counts, *, draws: int = DRAWS) -> float:
    """Probability, without drift, of counts in K categories at least as different by G, given those of both samples.

    G = 2 Σ O ln(O / E) over both samples and all categories has the distribution of chi-squared with K - 1 degrees of
    freedom when all E are large (S. S. Wilks, Annals of Mathematical Statistics 9 (1938), 60-62). Otherwise the pooled
    rows are split at random again and again, and p = (1 + splits with a G at least as large) / (1 + draws), which is
    valid for any number of draws (A. C. Davison, D. V. Hinkley: Bootstrap Methods and their Application (1997), 4.11).
    The seed is fixed: the same counts have the same p-value.

    Args:
        reference_K: counts of the reference, at least one.
        window_K: counts of the window, at least one.
        draws: splits to draw where they are needed.
    """
    pooled_K = reference_K + window_K
    filled = pooled_K > 0
    pooled_K, window_K = pooled_K[filled], window_K[filled]
    if len(pooled_K) < 2:
        return 1.0
    rows, total = int(window_K.sum()), int(pooled_K.sum())
    found = float(_g(window_K[None, :], pooled_K)[0])
    if pooled_K.min() * min(rows, total - rows) / total >= _ENOUGH_EXPECTED:
        return float(gammaincc((len(pooled_K) - 1) / 2, found / 2))
    if total >= _MOST_DRAWN_FROM:
        return _of_very_many(pooled_K, window_K)
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _CELLS_AT_ONCE // len(pooled_K))
    as_large = 0
    for start in range(0, draws, at_once):
        splits = generator.multivariate_hypergeometric(
            pooled_K, rows, size=min(at_once, draws - start), method="marginals"
        )
        as_large += int((_g(splits, pooled_K) >= found - _ROUNDING * max(found, 1.0)).sum())
    return (1 + as_large) / (1 + draws)


def _of_very_many(pooled_K: Counts, window_K: Counts) -> float:
    """The same where there are too many rows to draw from: cells where few rows are expected are looked at as one."""
    rows, total = int(window_K.sum()), int(pooled_K.sum())
    few_K = pooled_K * (min(rows, total - rows) / total) < _ENOUGH_EXPECTED
    pooled, window = int(pooled_K[few_K].sum()), int(window_K[few_K].sum())
    found = [share_p_value(pooled - window, total - rows, window, rows)]
    if (~few_K).sum() > 1:
        g = float(_g(window_K[None, ~few_K], pooled_K[~few_K])[0])
        found.append(float(gammaincc(((~few_K).sum() - 1) / 2, g / 2)))
    return together(found)


def share_p_value(
    reference: int, reference_rows: int, window: int, rows: int, *, side: Literal["both", "more"] = "both"
) -> float:
    """Fisher's exact test: whether a window has another share of something (nulls, say) than the reference.

    Of what both have together, the window's part is hypergeometric (R. A. Fisher: Statistical Methods for Research
    Workers, 5th ed. (1934), 21.02); for a reference without end this becomes the binomial test. Of both sides, splits
    that are as unlikely as the one that was found count, or less likely ones.

    Args:
        reference, reference_rows: how many of how many rows of the reference.
        window, rows: how many of how many rows of the window.
        side: `more` asks whether the window has more of it.
    """
    marked, total = reference + window, reference_rows + rows
    counts = np.arange(max(0, marked - reference_rows), min(marked, rows) + 1)
    logarithms = _log_choose(marked, counts) + _log_choose(total - marked, rows - counts)
    probabilities = np.exp(logarithms - logarithms.max())
    found = probabilities[counts == window]
    chosen = counts >= window if side == "more" else probabilities <= found * (1 + _ROUNDING)
    return float(probabilities[chosen].sum() / probabilities.sum())


def total_variation(reference_K: Counts, window_K: Counts) -> float:
    """Half the sum of the differences of shares in K bins: the share of rows that would have to move."""
    return float(np.abs(reference_K / reference_K.sum() - window_K / window_K.sum()).sum() / 2)


def total_variation_by_chance(reference_K: Counts, window_K: Counts) -> float:
    """What total variation two samples of these sizes have on average without any drift.

    The difference of two shares with the pooled share p is about normal with variance p (1 - p) (1/n + 1/N), and the
    mean of a normal variable's distance from 0 is sqrt(2 / π) of its deviation.
    """
    rows, others = window_K.sum(), reference_K.sum()
    shares_K = (reference_K + window_K) / (rows + others)
    deviations_K = np.sqrt(shares_K * (1 - shares_K) * (1 / rows + 1 / others))
    return float(np.sqrt(2 / np.pi) * deviations_K.sum() / 2)


def _g(windows_BK: Counts, pooled_K: Counts) -> NDArray[np.float64]:
    """G of each of B splits of the pooled counts."""
    total, rows = pooled_K.sum(), windows_BK[0].sum()
    g_B = np.zeros(len(windows_BK))
    for observed_BK, share in ((windows_BK, rows / total), (pooled_K - windows_BK, 1 - rows / total)):
        ratios_BK = np.where(observed_BK > 0, observed_BK, 1) / np.where(observed_BK > 0, pooled_K * share, 1.0)
        g_B += 2 * (observed_BK * np.log(ratios_BK)).sum(axis=1)
    return g_B


def _log_choose(size: int, counts: NDArray[np.int_]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = gammaln(size + 1) - gammaln(counts + 1) - gammaln(size - counts + 1)
    return logarithms
