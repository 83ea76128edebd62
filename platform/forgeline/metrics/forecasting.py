"""Metrics of forecasts: those of regressions, and the error scaled by that of the naive forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.metrics.regression import regression_metrics


def naive_mae(series: NDArray[Any], *, season: int = 1) -> float:
    """Mean absolute error, within the train series, of forecasting each value by the one `season` steps before.

    "Another look at measures of forecast accuracy", Hyndman & Koehler 2006, the denominator of eq. in section 3.
    """
    values = np.asarray(series, dtype=np.float64)
    if len(values) <= season:
        raise ValueError(f"a naive forecast {season} steps back needs more than {season} values, got {len(values)}")
    return float(np.abs(values[season:] - values[:-season]).mean())


def forecasting_metrics(
    predictions: NDArray[Any], targets: NDArray[Any], naive: float | Sequence[float] | None = None
) -> dict[str, float]:
    """Metrics over all steps of the horizon; `mase` where the naive error is known and not zero.

    Args:
        predictions: [n, horizon, targets] in original units.
        targets: the same shape.
        naive: mean absolute error of the naive forecast within train, one for all targets or one each.
    """
    values = regression_metrics(predictions, targets)
    if naive is None:
        return values
    scale = np.broadcast_to(np.asarray(naive, dtype=np.float64), predictions.shape[-1:])
    # A constant train series has no naive error to divide by: the scaled error does not exist.
    if np.all(scale > 0):
        values["mase"] = float(np.mean(np.abs(predictions.astype(np.float64) - targets) / scale))
    return values
