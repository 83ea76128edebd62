"""Metrics of classifiers computed quickly, for resampling asks hundreds of times; their values are `metrics`'s own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from forgeline.metrics import reliability

_Rows = NDArray[Any]
_Measure = Callable[[_Rows], float]


def classification_measure(
    name: str, outputs: NDArray[Any], targets: NDArray[Any], classes: Sequence[str]
) -> _Measure | None:
    """A metric as a function of the numbers of samples; None for one that is not known here.

    Args:
        name: such as `f1` or `recall[yes]`.
        outputs: probabilities [n, classes].
        targets: [n] class numbers.
        classes: their names.
    """
    base, bracket, label = name.removesuffix("]").partition("[")
    if base in ("precision", "recall", "f1"):
        chosen = classes.index(label) if bracket else None
        return _from_counts(base, chosen, outputs.argmax(axis=1), targets, outputs.shape[1])
    if name == "roc_auc":
        return _area(outputs, targets)
    if name == "ece":
        return lambda rows: reliability(outputs[rows], targets[rows]).ece
    return None


def _from_counts(
    base: str, chosen: int | None, predicted: NDArray[Any], targets: NDArray[Any], classes: int
) -> _Measure:
    cells = targets * classes + predicted

    def measure(rows: _Rows) -> float:
        counts = np.bincount(cells[rows], minlength=classes**2).reshape(classes, classes)
        hits, truly, called = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        over = {"precision": called, "recall": truly, "f1": (truly + called) / 2}[base]
        values = np.divide(hits, over, out=np.zeros(classes), where=over > 0)
        if chosen is not None:
            return float(values[chosen]) if truly[chosen] else float("nan")
        return float(values[(truly + called) > 0].mean())

    return measure


def _area(outputs: NDArray[Any], targets: NDArray[Any]) -> _Measure:
    numbers = [1] if outputs.shape[1] == 2 else range(outputs.shape[1])

    def measure(rows: _Rows) -> float:
        areas = []
        for number in numbers:
            member = targets[rows] == number
            ones = int(member.sum())
            if 0 < ones < len(member):
                ranks = rankdata(outputs[rows, number])
                areas.append((ranks[member].sum() - ones * (ones + 1) / 2) / (ones * (len(member) - ones)))
        return float(np.mean(areas)) if areas else float("nan")

    return measure
