"""Metrics of regressions, in the units of the data; several targets count alike.

scikit-learn, not torchmetrics: torchmetrics' R2 comes from float32 sums of squares, which cancel when a target's mean
is large against its spread (a year, a temperature in kelvin).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def regression_metrics(predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """`mse`, `rmse`, `mae`, and `r2` where there are two samples or more.

    Args:
        predictions: [n, …] in original units.
        targets: the same shape.
    """
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    wide = predictions.reshape(len(predictions), -1).astype(np.float64)
    truth = targets.reshape(len(targets), -1).astype(np.float64)
    squared = float(mean_squared_error(truth, wide))
    values = {"mse": squared, "rmse": float(np.sqrt(squared)), "mae": float(mean_absolute_error(truth, wide))}
    if len(truth) > 1:
        values["r2"] = float(r2_score(truth, wide))
    return values
