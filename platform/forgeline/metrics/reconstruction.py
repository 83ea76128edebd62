"""Metrics of models that give back what they are shown: how well they do, and how well their error tells anomalies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# 100 dB: a reconstruction without any error has no finite number.
_LEAST = 1e-10


def reconstruction_metrics(errors: NDArray[Any], anomalous: NDArray[Any]) -> dict[str, float]:
    """`psnr`; with noise `psnr_noisy` and `psnr_gain`; with samples of both kinds `anomaly_auroc`.

    Args:
        errors: [n, 2] mean squared error of the reconstruction and of what the model was shown, in squares of the
            brightest value.
        anomalous: [n] 1 for anomalies, 0 for normal samples.
    """
    from sklearn.metrics import roc_auc_score

    made, shown = _decibels(errors[:, 0]), _decibels(errors[:, 1])
    values = {"psnr": float(made.mean())}
    if errors[:, 1].any():
        values |= {"psnr_noisy": float(shown.mean()), "psnr_gain": float((made - shown).mean())}
    if 0 < anomalous.sum() < len(anomalous):
        values["anomaly_auroc"] = float(roc_auc_score(anomalous, errors[:, 0]))
    return values


def _decibels(errors: NDArray[Any]) -> NDArray[np.float64]:
    """The peak signal-to-noise ratio of each sample."""
    ratios: NDArray[np.float64] = -10.0 * np.log10(np.maximum(errors.astype(np.float64), _LEAST))
    return ratios
