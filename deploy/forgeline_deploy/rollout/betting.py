"""Bets on a mean that may be looked at after every request: e-values, and the interval that they leave.

Against "the mean of v is at most m" one bets on each observation: the stake λ turns wealth W into W (1 + λ (v - m)),
which in expectation does not grow while that is true, whatever came before. So wealth reaches 1/α with a probability
of at most α, ever (Ville 1939). I. Waudby-Smith, A. Ramdas: Estimating means of bounded random variables by betting,
Journal of the Royal Statistical Society B 86 (2024), 1-27, section 4, the capital process. Departure: stakes do not
follow the observations; the wealth of a fixed mixture of stakes is taken, because it depends on how often each value
came and on nothing else: counts that are merged, and a restart, give the same wealth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A stake is a part g of the largest that cannot lose all, the larger of both sides taken. Most of the mixture's weight
# is where a difference of 2 to 10 % in few errors has its best stake (about 0.2); no weight makes it less valid.
_PARTS_G = np.geomspace(0.02, 0.95, 24)
_LOG_PRIOR_G = -0.5 * (np.log(_PARTS_G / 0.2) / 0.6) ** 2
_LOG_PRIOR_G -= np.log(np.exp(_LOG_PRIOR_G).sum())

# A share over its limit, by how many times the odds are larger.
_ODDS = np.asarray([1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How often each value came; values are bounded.

    Attributes:
        values: [k].
        counts: [k].
        low, high: no value can lie outside.
    """

    values: Floats
    counts: NDArray[np.int64]
    low: float
    high: float

    @property
    def rows(self) -> int:
        """How many observations there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Their mean; NaN without any."""
        return float(self.values @ self.counts / self.rows) if self.rows else float("nan")

    def negated(self) -> Sample:
        """The sample of -v."""
        return Sample(values=-self.values, counts=self.counts, low=-self.high, high=-self.low)


def log_e_above(sample: Sample, mean: float) -> float:
    """Logarithm of the e-value against "the mean is at most this"; it falls as `mean` rises.

    >>> fair = Sample(values=np.array([-1.0, 1.0]), counts=np.array([50, 50]), low=-1, high=1)
    >>> log_e_above(fair, 0.0) < 0 < log_e_above(fair, -0.5)
    True
    """
    if mean >= sample.high:
        return float("-inf")
    if not sample.counts.any():
        return 0.0
    # Divided by the larger side, no value can lose more than the whole stake, and wealth falls as the mean rises.
    furthest = max(mean - sample.low, sample.high - mean)
    gained_GK = np.log1p(np.outer(_PARTS_G / furthest, sample.values - mean))
    return log_of_sum(_LOG_PRIOR_G + gained_GK @ sample.counts)


def log_e_below(sample: Sample, mean: float) -> float:
    """Logarithm of the e-value against "the mean is at least this"."""
    return log_e_above(sample.negated(), -mean)


def log_e_share_above(count: int, rows: int, limit: float) -> float:
    """Logarithm of the e-value against "each row counts with a probability of at most `limit`".

    A mixture of likelihood ratios of larger shares q. Each is a bet as above, with λ = (q - limit) / (limit - limit²),
    which is up to 1 / limit: small limits need large stakes.

    Args:
        count: rows that are counted: failed, or too slow.
        limit: between 0 and 1.
    """
    odds = limit / (1 - limit) * _ODDS
    shares = odds / (1 + odds)
    gained = count * np.log(shares / limit) + (rows - count) * (np.log1p(-shares) - np.log1p(-limit))
    return log_of_sum(gained) - float(np.log(len(_ODDS)))


def log_of_sum(log_terms: Floats) -> float:
    """Logarithm of a sum, from the logarithms of its terms."""
    # SciPy's takes ten times as long for two dozen terms, and a controller asks at every look.
    largest = log_terms.max()
    return float(largest + np.log(np.exp(log_terms - largest).sum())) if np.isfinite(largest) else float(largest)


def lower_bound(log_e: Callable[[float], float], low: float, high: float, threshold: float) -> float:
    """The smallest mean that is not refuted: below it, e-values are at or over the threshold; at any time at once.

    Args:
        log_e: falls as the mean rises.
        low, high: where means can lie.
        threshold: 1/α.
    """
    refuted, not_refuted = low, high
    if log_e(low) < np.log(threshold):
        return low
    while not_refuted - refuted > 1e-7 * (high - low):
        middle = (refuted + not_refuted) / 2
        if log_e(middle) >= np.log(threshold):
            refuted = middle
        else:
            not_refuted = middle
    return refuted
