"""How far samples are from data: the Fréchet distance, the inception-style score, and modes in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.generation import Modes

HIGH_QUALITY_DEVIATIONS = 3.0


def frechet_distance(features: NDArray[Any], others: NDArray[Any]) -> float:
    """The squared Fréchet distance of two normal distributions fitted to features [n, units] and [m, units].

    Heusel et al. 2017 (arXiv:1706.08500, equation 6): |m - m'|² + tr(C + C' - 2 (C C')^½). With C = RᵀR and C' = R'ᵀR',
    triangles by QR of the centred features, the trace of the root is the sum of the singular values of R R'ᵀ: nothing
    is squared and rooted again, and singular covariances (fewer samples than units, dead units) need no small number
    added to them.

    Raises:
        ValueError: there are fewer than two samples, or numbers that are not finite.
    """
    if min(len(features), len(others)) < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {len(features)} and {len(others)}")
    if not (np.isfinite(features).all() and np.isfinite(others).all()):
        raise ValueError("features are not finite")
    gap = features.mean(axis=0) - others.mean(axis=0)
    root, other = (
        np.asarray(np.linalg.qr((each - each.mean(axis=0)) / np.sqrt(len(each) - 1), mode="r"))
        for each in (features, others)
    )
    shared = np.linalg.svd(root @ other.T, compute_uv=False).sum()
    return max(0.0, float(gap @ gap + (root**2).sum() + (other**2).sum() - 2.0 * shared))


def inception_style_score(probabilities: Sequence[NDArray[Any]]) -> float:
    """exp of the mean divergence of what is read in a sample from what is read in all.

    Salimans et al. 2016 (arXiv:1606.03498, section 4), of one classifier. Of several attributes, each [n, values], the
    divergences are added up, as those of independent attributes are: the most is the product of the values' numbers.
    """
    divergence = 0.0
    for each in probabilities:
        tiny = np.finfo(np.float64).tiny
        conditional = np.log(each.clip(tiny)) - np.log(each.mean(axis=0).clip(tiny))
        divergence += float((each * conditional).sum(axis=1).mean())
    return float(np.exp(divergence))


def modes_found(points: NDArray[Any], modes: Modes) -> tuple[int, float]:
    """Number of modes found, and share of high quality, of points [n, columns].

    As Srivastava et al. 2017 (arXiv:1705.07761, section 4.1) count: a point is of high quality within three deviations
    of its nearest mode, and a mode is found that is the nearest one of at least one such point. Of the points of a
    two-dimensional normal distribution, 1 - exp(-9/2) = 0.989 are of high quality.
    """
    gaps = np.linalg.norm(points[:, None, :].astype(np.float64) - modes.centres[None, :, :], axis=2)
    nearest = gaps.argmin(axis=1)
    good = gaps[np.arange(len(points)), nearest] <= HIGH_QUALITY_DEVIATIONS * modes.deviation
    return len(np.unique(nearest[good])), float(good.mean())
