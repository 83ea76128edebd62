"""The two-sample Kolmogorov-Smirnov test of counts in ordered bins, with its exact p-value.

Textbook p-values are of continuous data and large samples; with ties they are too large. Given what both samples have
in each bin together, every split of the rows is equally likely under the null hypothesis, and the distribution of the
statistic follows without any approximation:

    G. Schröer, D. Trenkler: Exact and randomization distributions of Kolmogorov-Smirnov tests two or three samples.
    Computational Statistics & Data Analysis 20 (1995), 185-202.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

# Of a bin's binomial distribution, what lies farther out than this has a share under 1e-18.
_FARTHEST_STD = 9.0
# Two statistics that differ by rounding alone are the same.
_ROUNDING = 1e-12
SMALLEST_P = 1e-15
"""What is cut off in the tails may add up to this: smaller p-values are not told apart."""


def largest_difference(reference_K: Counts, window_K: Counts) -> float:
    """Smirnov's statistic: the largest difference between the cumulative shares of two samples in K ordered bins."""
    shares = [np.cumsum(counts) / counts.sum() for counts in (reference_K, window_K)]
    return float(np.abs(shares[0] - shares[1]).max())


def p_value(reference_K: Counts, window_K: Counts) -> float:
    """Probability, without drift, of a largest difference at least as large, given the bins' counts of both samples.

    Splits of the pooled counts t_1 … t_K into a window of n rows and a reference of N are multivariate hypergeometric,
    which is to say independent binomials B(t_k, n / (n + N)) given that they add up to n. So the window's cumulative
    count is walked from bin to bin; a walk that leaves the band of smaller differences is weighed, as it leaves, by the
    probability that the other bins make it end at n. Only what leaves is summed up, so that a small p-value has no
    rounding error of 1 - (1 - p).

    Args:
        reference_K: counts of the reference, at least one.
        window_K: counts of the window, at least one.
    """
    filled = (reference_K + window_K) > 0
    reference_K, window_K = reference_K[filled], window_K[filled]
    largest = largest_difference(reference_K, window_K)
    if largest <= _ROUNDING:
        return 1.0
    rows, others = int(window_K.sum()), int(reference_K.sum())
    share, pooled_K = rows / (rows + others), reference_K + window_K
    walked, first, left, behind = np.ones(1), 0, 0.0, 0
    for pooled in pooled_K[:-1].tolist():
        step, least = _binomial(pooled, share)
        walked, first, behind = np.convolve(walked, step), first + least, behind + pooled
        counts = first + np.arange(len(walked))
        differences = np.abs(counts / rows - (behind - counts) / others)
        outside = differences >= largest - _ROUNDING
        ahead = rows + others - behind
        left += float(walked[outside] @ _probabilities(rows - counts[outside], ahead, share))
        inside = np.flatnonzero(~outside)
        if not len(inside):
            break
        walked = np.where(outside, 0.0, walked)[inside[0] : inside[-1] + 1]
        first += int(inside[0])
    total = float(_probabilities(np.asarray([rows]), rows + others, share)[0])
    return min(1.0, max(left / total, SMALLEST_P))


def _binomial(size: int, share: float) -> tuple[Floats, int]:
    """The probabilities of B(size, share) around its mean, and the count that the first is of."""
    reach = _FARTHEST_STD * np.sqrt(size * share * (1 - share)) + _FARTHEST_STD**2
    least = max(0, int(np.floor(size * share - reach)))
    most = min(size, int(np.ceil(size * share + reach)))
    return _probabilities(np.arange(least, most + 1), size, share), least


def _probabilities(counts: NDArray[np.int_], size: int, share: float) -> Floats:
    """Binomial probabilities of counts [n]; 0 for impossible ones."""
    possible = (counts >= 0) & (counts <= size)
    chosen = np.where(possible, counts, 0)
    logarithms = gammaln(size + 1) - gammaln(chosen + 1) - gammaln(size - chosen + 1)
    logarithms += chosen * np.log(share) + (size - chosen) * np.log1p(-share)
    return np.where(possible, np.exp(logarithms), 0.0)
