"""One-sided bounds and tests that a gate rests on: of shares, of paired answers, of means and of any metric.

Paired means that both models answered the same samples: what counts is where they differ. Tests of right and wrong
answers are exact; those of losses and of other metrics resample, and hold as the number of samples grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

MEAN_DRAWS = 2000
"""Resamples for the bound of a mean."""

METRIC_DRAWS = 500
"""Resamples for the bound of a metric that is computed anew on each."""

_CELLS = 2_000_000  # numbers that are resampled at once
_NUISANCES = 200
_BISECTIONS = 60
_TAIL_DEVIATIONS = 9.0


def share_lower(hits: int, n: int, confidence: float) -> float:
    """Lower bound of a share that was hit `hits` times in `n` (Clopper and Pearson 1934); 0 without samples."""
    return 0.0 if hits == 0 else float(stats.beta.ppf(1 - confidence, hits, n - hits + 1))


def share_upper(hits: int, n: int, confidence: float) -> float:
    """Upper bound of such a share; 1 without samples."""
    return 1.0 if hits == n else float(stats.beta.ppf(confidence, hits + 1, n - hits))


def mcnemar_p(wins: int, losses: int) -> float:
    """Chance of so many wins or more if neither model were better (McNemar 1947, exact and one-sided).

    Args:
        wins: samples that the first model has right and the second wrong.
        losses: samples that the second has right and the first wrong.
    """
    return float(stats.binom.sf(wins - 1, wins + losses, 0.5)) if wins + losses else 1.0


def not_worse_p(wins: int, losses: int, n: int, margin: float) -> float:
    """Chance of a result as good or better if the first model were right in a share of samples lower by `margin`.

    Exact and unconditional: results are ordered by Tango's score statistic, and the share of samples on which the
    models differ is taken where the chance is largest, as in Hsueh, Liu and Chen (Biometrics 57, 2001).

    Args:
        wins: samples that the first model has right and the second wrong.
        losses: samples that the second has right and the first wrong.
        n: all samples.
        margin: in shares, from 0 to below 1; at 0 this is McNemar's test.
    """
    if margin == 0:
        return mcnemar_p(wins, losses)
    observed = float(_score(np.array([float(wins)]), np.array([float(losses)]), n, -margin)[0])
    differing = np.arange(n + 1, dtype=np.float64)
    fewest = _fewest_wins(differing, n, margin, observed)
    worst = 0.0
    # Dense where the two models hardly differ, which is where such tests are decided.
    for share in margin + (1 - margin) * np.linspace(0, 1, _NUISANCES) ** 3:
        deviation = np.sqrt(n * share * (1 - share)) + 1
        first = max(0, int(n * share - _TAIL_DEVIATIONS * deviation))
        last = min(n, int(n * share + _TAIL_DEVIATIONS * deviation))
        part = differing[first : last + 1]
        chances = stats.binom.pmf(part, n, share)
        tails = stats.binom.sf(fewest[first : last + 1] - 1, part, (share - margin) / (2 * share))
        worst = max(worst, float(np.sum(chances * tails)))
    return min(worst, 1.0)


def gain_lower(wins: int, losses: int, n: int, confidence: float) -> float:
    """Lower bound of how much larger the first model's share of right answers is, by the score method.

    Tango (Statistics in Medicine 17, 1998), equations 10 to 12; for the reader, the tests above decide.
    """
    wanted = float(stats.norm.ppf(confidence))
    low, high = -1.0, (wins - losses) / n
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if float(_score(np.array([float(wins)]), np.array([float(losses)]), n, middle)[0]) > wanted:
            low = middle
        else:
            high = middle
    return low


def _score(wins: Floats, losses: Floats, n: int, gain: float) -> Floats:
    """Tango's statistic: how many deviations a result lies above a true gain."""
    half = wins + losses - (2 * n - wins + losses) * gain
    root = np.sqrt(np.maximum(half**2 + 8 * n * losses * gain * (1 - gain), 0))
    share = np.maximum((root + half) / (4 * n), 0)
    variance = np.maximum(n * (2 * share + gain * (1 - gain)), 0)
    distance = wins - losses - n * gain
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(variance > 0, distance / np.sqrt(variance), np.sign(distance) * np.inf)
    return np.where(np.isnan(found), 0.0, found)


def _fewest_wins(differing: Floats, n: int, margin: float, observed: float) -> Floats:
    """Of each number of samples that differ, the fewest wins with a statistic as large as the observed one."""
    low, high = np.full_like(differing, -1.0), differing + 1  # at `low` it is smaller, at `high` as large
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        # Rounding must not leave out the result itself.
        enough = _score(middle, differing - middle, n, -margin) >= observed - 1e-9
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high


def mean_lower(values: Floats, confidence: float, *, seed: int) -> float:
    """Lower bound of a mean by the studentised bootstrap (Efron 1981; Hall 1988), which heeds skewed losses.

    Args:
        values: [n], two or more.
        confidence: of the bound.
        seed: of the resamples.
    """
    n, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / np.sqrt(n)
    if error == 0:
        return mean
    generator = np.random.default_rng(seed)
    centred, parts = values - mean, []
    each = max(1, min(MEAN_DRAWS, _CELLS // n))
    for first in range(0, MEAN_DRAWS, each):
        sample = centred[generator.integers(0, n, (min(each, MEAN_DRAWS - first), n))]
        shift = sample.mean(axis=1)
        spread = np.sqrt(np.maximum((sample**2).mean(axis=1) - shift**2, 0) / (n - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(np.where(spread > 0, shift / spread, np.sign(shift) * np.inf))
    t = np.nan_to_num(np.concatenate(parts), nan=0.0, posinf=np.inf, neginf=-np.inf)
    # The next larger draw: one of too few resamples must not make the bound less careful.
    return float(mean - float(np.quantile(t, confidence, method="higher")) * error)


def metric_lower(measure: Callable[[NDArray[Any]], float], n: int, confidence: float, *, seed: int) -> float:
    """Lower bound of whatever a metric of samples comes to, by the percentiles of its resamples.

    Args:
        measure: the metric of the samples with these numbers; NaN where they have none, which is left out.
        n: samples.
        confidence: of the bound.
        seed: of the resamples.
    """
    generator = np.random.default_rng(seed)
    drawn = np.array([measure(generator.integers(0, n, n)) for _ in range(METRIC_DRAWS)])
    known = drawn[~np.isnan(drawn)]
    return float(np.quantile(known, 1 - confidence, method="lower")) if len(known) else float("nan")
