"""Figures of runs and models; imports matplotlib, so import it only where something is drawn."""

from __future__ import annotations

from forgeline.plots.classification import confusion_matrix as confusion_matrix
from forgeline.plots.classification import reliability_diagram as reliability_diagram
from forgeline.plots.classification import roc_curves as roc_curves
from forgeline.plots.figure import save as save
from forgeline.plots.forecasting import forecast_against_truth as forecast_against_truth
from forgeline.plots.learning import learning_curves as learning_curves
from forgeline.plots.reconstruction import anomaly_scores as anomaly_scores
from forgeline.plots.regression import predicted_against_true as predicted_against_true
from forgeline.plots.samples import grid as grid
from forgeline.plots.samples import sample_grid as sample_grid
from forgeline.plots.samples import sample_points as sample_points
from forgeline.plots.tasks import figures_for as figures_for

__all__ = [
    "anomaly_scores",
    "confusion_matrix",
    "figures_for",
    "forecast_against_truth",
    "grid",
    "learning_curves",
    "predicted_against_true",
    "reliability_diagram",
    "roc_curves",
    "sample_grid",
    "sample_points",
    "save",
]
