"""Predicted against true numbers, and what is left between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forgeline.plots.figure import BLUE, GREY, new_figure, styled

# More rows or points than these are no longer seen; the numbers in the titles are of all samples.
MOST_TARGETS = 8
MOST_POINTS = 5000


def predicted_against_true(predictions: NDArray[Any], targets: NDArray[Any], names: Sequence[str]) -> Figure:
    """One row per target: predicted against true, residuals against predicted, residuals as a histogram.

    Args:
        predictions: [n, targets] in original units.
        targets: the same shape.
        names: one per target.
    """
    shown = list(names)[:MOST_TARGETS]
    count = len(predictions)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64))
    figure = new_figure(12.0, 3.6 * len(shown))
    notes = []
    if len(names) > len(shown):
        notes.append(f"first {len(shown)} of {len(names)} targets")
    if len(chosen) < count:
        notes.append(f"{len(chosen)} of {count} samples drawn")
    if notes:
        figure.suptitle(", ".join(notes), fontsize=9)
    dots: dict[str, Any] = {"s": 9, "color": BLUE, "alpha": 0.45, "linewidths": 0}
    for row, name in enumerate(shown):
        predicted = np.asarray(predictions[:, row], dtype=np.float64)
        true = np.asarray(targets[:, row], dtype=np.float64)
        residuals = true - predicted
        left, middle, right = (figure.add_subplot(len(shown), 3, 3 * row + column) for column in (1, 2, 3))

        rmse = float(np.sqrt(np.mean(residuals**2)))
        styled(left, title=f"{name}: rmse {rmse:.4g}", x="true", y="predicted")
        left.scatter(true[chosen], predicted[chosen], **dots)
        ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
        left.plot(ends, ends, color=GREY, linewidth=0.9, linestyle="--", label="perfect")
        left.legend(fontsize=8, frameon=False)

        styled(middle, title="residuals", x="predicted", y="true - predicted")
        middle.scatter(predicted[chosen], residuals[chosen], **dots)
        middle.axhline(0.0, color=GREY, linewidth=0.9, linestyle="--")

        styled(right, title=f"residuals: mean {residuals.mean():.4g}", x="true - predicted", y="samples")
        right.hist(residuals, bins=min(40, max(5, int(np.sqrt(count)))), color=BLUE, alpha=0.75)
        right.axvline(0.0, color=GREY, linewidth=0.9, linestyle="--")
    return figure
