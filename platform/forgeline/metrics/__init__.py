"""Metrics by task, numpy in and floats out.

>>> import numpy as np
>>> values = compute("regression", np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))
>>> values["mae"]
0.5
"""

from __future__ import annotations

from forgeline.metrics.calibration import ReliabilityBins as ReliabilityBins
from forgeline.metrics.calibration import reliability as reliability
from forgeline.metrics.catalogue import CLASSIFYING as CLASSIFYING
from forgeline.metrics.catalogue import LOSS_ONLY as LOSS_ONLY
from forgeline.metrics.catalogue import METRICS as METRICS
from forgeline.metrics.catalogue import MetricInfo as MetricInfo
from forgeline.metrics.catalogue import metric_info as metric_info
from forgeline.metrics.classification import remarks as remarks
from forgeline.metrics.classification import roc_areas as roc_areas
from forgeline.metrics.computation import compute as compute
from forgeline.metrics.computation import from_loss as from_loss
from forgeline.metrics.computation import from_outputs as from_outputs
from forgeline.metrics.forecasting import naive_mae as naive_mae

__all__ = [
    "CLASSIFYING",
    "LOSS_ONLY",
    "METRICS",
    "MetricInfo",
    "ReliabilityBins",
    "compute",
    "from_loss",
    "from_outputs",
    "metric_info",
    "naive_mae",
    "reliability",
    "remarks",
    "roc_areas",
]
