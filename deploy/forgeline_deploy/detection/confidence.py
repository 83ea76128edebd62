"""How far the true mean of a score may lie from that of a finite reference: confidence bounds, each one-sided.

Which one holds depends on whose bins the reference was counted in. Scores are its own mid-ranks in either case.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of a uniform variable: its variance, the fourth moment and the variance of the square, about the middle.
_UNIFORM, _FOURTH, _SQUARE = 1 / 12, 1 / 80, 1 / 180
_LARGEST_SQUARE = 1 / 4


def of_own_bins(farthest: float, variance: float, rows: float, log_odds: float) -> float:
    """How far the true mean score may lie above the reference's, but for a probability of exp(-log_odds).

    Where bins end at values of the reference, what they truly hold is a Dirichlet variable of the counts, which is to
    say shares of Gamma variables. Of these, Σ G_k (s_k - m) is sub-gamma with variance factor N (v + w^2) and scale b,
    so that N w >= sqrt(2 N (v + w^2) L) + b L suffices (S. Boucheron, G. Lugosi, P. Massart: Concentration Inequalities
    (2013), 2.4), a quadratic equation in w. For the share of one cell, whosever it is, it is weaker than Chernoff's
    bound of the binomial, which has the same dual, and so holds as well.

    Args:
        farthest: b, from the mean score to the largest; variance: v, of the score in the reference; rows: N, of it.
    """
    scale, spread = max(farthest, 0.0) * log_odds / rows, 2 * log_odds / rows
    if spread >= 1:
        return np.inf
    return float((scale + np.sqrt(spread * (scale**2 + (1 - spread) * variance))) / (1 - spread))


def of_location(rows: float, log_odds: float) -> float:
    """How far the true mean of mid-ranks in given bins may lie from 1/2, to one side.

    The mean of the sample's mid-ranks over the true distribution is 1 less the mean over the sample of the true
    mid-ranks. These are fixed, N of them independent, each the mean of a uniform variable U given its bin: so by Jensen
    E exp(t (r - 1/2)) <= E exp(t (U - 1/2)) <= exp(t^2 / 24), and N w^2 >= L / 6 suffices, whatever the ties.
    """
    return math.sqrt(2 * _UNIFORM * log_odds / rows)


def of_spread(counts_K: Floats, log_odds: float) -> tuple[float, float]:
    """How far the true mean of Mood's scores in given bins may lie below and above the sample's.

    With true mid-ranks r and Z = (r - 1/2)^2, the difference is E Z less the sample's mean of Z, plus a remainder
    Σ p_k (m_k^2 + e_k^2 / 6) + q_k e_k^2 / 12: q are the sample's shares, e = q - p, and m errors of mid-ranks. If no
    cumulative share is off by more than d, then m_k^2 + e_k^2 / 4, a mean of two squared errors, is at most d^2, and
    the remainder 4/3 d^2. P(2 N d^2 >= L + ln 2) <= exp(-L) (P. Massart, Ann. Probab. 18 (1990), 1269-1283): a bound of
    its own. By Jensen E Z^2 <= 1/80, and E Z = (1 - Σ p_k^3) / 12, so that Z has a variance of 1/180 + Σ p_k^3 / 72 at
    most; and 0 <= Z <= 1/4. The rest is Bernstein's inequality.
    """
    rows = float(counts_K.sum())
    squared = (log_odds + math.log(2)) / (2 * rows)
    largest = min(float(counts_K.max()) / rows + 2 * math.sqrt(squared), 1.0)
    variance = min(_SQUARE + largest**2 / 72, _FOURTH)
    common, third = math.sqrt(2 * variance * log_odds / rows), log_odds / (3 * rows)
    return common + _LARGEST_SQUARE * third, common + _UNIFORM * third + 4 / 3 * squared
