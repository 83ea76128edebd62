"""Which figures a task has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forgeline.errors import ForgelineError
from forgeline.metrics import CLASSIFYING, LOSS_ONLY
from forgeline.plots.classification import confusion_matrix, reliability_diagram, roc_curves
from forgeline.plots.forecasting import forecast_against_truth
from forgeline.plots.reconstruction import anomaly_scores
from forgeline.plots.regression import predicted_against_true
from forgeline.preprocessing.target import AnomalyTarget

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing

_NOT_DRAWN = frozenset({"translation", "retrieval"})


def figures_for(
    task: str, outputs: NDArray[Any] | None, targets: NDArray[Any] | None, preprocessing: Preprocessing
) -> dict[str, Figure]:
    """File stem -> figure, for outputs and targets as the model gives them; none where they say nothing to the eye.

    Args:
        task: as in `METRICS`.
        outputs: probabilities [n, classes], standardised [n, targets] / [n, horizon, targets], or errors [n, 2].
        targets: class numbers [n], standardised numbers of the shape of `outputs`, or 1 for anomalies [n].
        preprocessing: brings numbers back to original units and names them.

    Raises:
        ForgelineError: the task needs outputs and targets, and there are none.
    """
    if task in LOSS_ONLY or task in _NOT_DRAWN:
        return {}
    if outputs is None or targets is None or not len(outputs):
        raise ForgelineError(f"{task} is drawn from outputs and targets; got none")
    if task in CLASSIFYING:
        probabilities, numbers = np.asarray(outputs), np.asarray(targets)
        classes = preprocessing.classes or tuple(map(str, range(probabilities.shape[1])))
        return {
            "confusion-matrix": confusion_matrix(probabilities, numbers, classes),
            "roc": roc_curves(probabilities, numbers, classes),
            "calibration": reliability_diagram(probabilities, numbers),
        }
    if task == "reconstruction":
        return _of_errors(np.asarray(outputs), np.asarray(targets), preprocessing)
    predicted, true = preprocessing.unscale(outputs), preprocessing.unscale(targets)
    if task == "forecasting":
        return {"forecast-against-truth": forecast_against_truth(predicted, true, preprocessing.target_names)}
    return {"predicted-against-true": predicted_against_true(predicted, true, preprocessing.target_names)}


def _of_errors(errors: NDArray[Any], anomalous: NDArray[Any], preprocessing: Preprocessing) -> dict[str, Figure]:
    target, scores = preprocessing.target, errors[:, 0]
    # The threshold is one of samples without noise.
    threshold = target.threshold if isinstance(target, AnomalyTarget) and not errors[:, 1].any() else None
    figures = {"anomaly-scores": anomaly_scores(scores, anomalous, threshold)}
    if 0 < anomalous.sum() < len(anomalous):
        figures["roc"] = roc_curves(np.stack([-scores, scores], axis=1), anomalous, ("normal", "anomaly"))
    return figures
