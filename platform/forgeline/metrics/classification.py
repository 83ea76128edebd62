"""Metrics of classifiers, from probabilities.

- scikit-learn, not torchmetrics: float64 throughout (torchmetrics counts in float32), no torch import, and no guessing
  whether a row holds logits.
- Precision, recall and F1 are means over the classes that occur among targets or predictions.
- ROC-AUC needs both sides of a class: classes that do not occur, or are all there is, are left out of its mean, and
  `remarks` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.metrics.calibration import reliability


def classification_metrics(
    probabilities: NDArray[Any], targets: NDArray[Any], classes: Sequence[str] | None = None
) -> dict[str, float]:
    """All metrics of the task; `f1[name]` and its like only where `classes` are given and the class occurs.

    Args:
        probabilities: [n, classes], rows summing to 1.
        targets: [n] class numbers.
        classes: names in the order of the columns.
    """
    from sklearn.metrics import precision_recall_fscore_support

    rows = np.arange(len(targets))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=np.arange(probabilities.shape[1]), average=None, zero_division=0.0
    )
    occurs = np.zeros(probabilities.shape[1], dtype=bool)
    occurs[targets] = occurs[predicted] = True
    # A float32 softmax can round to 0; the smallest positive float32 keeps the logarithm finite (103 nats at most).
    truth = np.clip(probabilities[rows, targets].astype(np.float64), 2.0**-149, 1.0)
    values = {
        "accuracy": float(np.mean(predicted == targets)),
        "precision": float(precision[occurs].mean()),
        "recall": float(recall[occurs].mean()),
        "f1": float(f1[occurs].mean()),
        "log_loss": float(-np.log(truth).mean()),
        "ece": reliability(probabilities, targets).ece,
    }
    areas = roc_areas(probabilities, targets)
    if areas:
        values["roc_auc"] = areas[1] if probabilities.shape[1] == 2 else float(np.mean(list(areas.values())))
    for number, name in enumerate(classes or ()):
        if support[number]:
            values[f"precision[{name}]"] = float(precision[number])
            values[f"recall[{name}]"] = float(recall[number])
            values[f"f1[{name}]"] = float(f1[number])
    return values


def roc_areas(probabilities: NDArray[Any], targets: NDArray[Any]) -> dict[int, float]:
    """Area under the ROC curve of each class against the rest, for the classes that have samples on both sides."""
    from sklearn.metrics import roc_auc_score

    areas = {}
    for number in range(probabilities.shape[1]):
        member = targets == number
        if member.any() and not member.all():
            areas[number] = float(roc_auc_score(member, probabilities[:, number]))
    return areas


def remarks(targets: NDArray[Any], classes: Sequence[str]) -> list[str]:
    """What a reader must know about the metrics: classes without samples, and what that does to them."""
    present = np.bincount(targets, minlength=len(classes)) > 0
    absent = [name for name, there in zip(classes, present, strict=True) if not there]
    said = []
    if absent:
        listed = ", ".join(f"`{name}`" for name in absent[:10]) + (" …" if len(absent) > 10 else "")
        said.append(
            f"{len(absent)} of {len(classes)} classes have no sample here ({listed}): "
            "they have no per-class values and are not part of roc_auc."
        )
    if int(present.sum()) < 2:
        said.append("Only one class has samples, so roc_auc cannot be computed.")
    return said
