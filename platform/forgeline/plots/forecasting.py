"""Forecasts against what came true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from forgeline.plots.figure import BLUE, ORANGE, new_figure, styled
from forgeline.plots.regression import MOST_TARGETS

MOST_WINDOWS = 400


def forecast_against_truth(predictions: NDArray[Any], targets: NDArray[Any], names: Sequence[str]) -> Figure:
    """One row per target: one step ahead over all windows, a typical and the worst window, and the error by step.

    A horizon of one step has the first panel only.

    Args:
        predictions: [n, horizon, targets] in original units.
        targets: the same shape.
        names: one per target.
    """
    count, horizon, _ = predictions.shape
    shown = list(names)[:MOST_TARGETS]
    columns = 4 if horizon > 1 else 1
    figure = new_figure(17.0 if horizon > 1 else 9.0, 3.2 * len(shown))
    grid = figure.add_gridspec(len(shown), columns, width_ratios=[2.0, 1.0, 1.0, 1.0][:columns])
    if len(names) > len(shown):
        figure.suptitle(f"first {len(shown)} of {len(names)} targets", fontsize=9)
    first = max(0, count - MOST_WINDOWS)
    windows, steps = np.arange(first, count), np.arange(1, horizon + 1)
    for row, name in enumerate(shown):
        predicted = np.asarray(predictions[:, :, row], dtype=np.float64)
        true = np.asarray(targets[:, :, row], dtype=np.float64)
        errors = np.abs(predicted - true)

        title = f"{name}, one step ahead: mae {errors[:, 0].mean():.4g}"
        title += f" (last {len(windows)} of {count} windows drawn)" if first else ""
        axes = styled(figure.add_subplot(grid[row, 0]), title=title, x="window")
        _pair(axes, windows, true[first:, 0], predicted[first:, 0])
        axes.legend(fontsize=8, frameon=False)
        if horizon == 1:
            continue

        order = np.argsort(errors.mean(axis=1), kind="stable")
        for column, (word, window) in enumerate((("median", order[(count - 1) // 2]), ("worst", order[-1])), start=1):
            title = f"{word} window ({int(window)}): mae {errors[window].mean():.4g}"
            axes = styled(figure.add_subplot(grid[row, column]), title=title, x="steps ahead")
            _pair(axes, steps, true[window], predicted[window])

        axes = styled(figure.add_subplot(grid[row, 3]), title="error by step", x="steps ahead", y="mae")
        axes.plot(steps, errors.mean(axis=0), color=BLUE, marker="o", markersize=3, linewidth=1.4, label="mae")
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _pair(axes: Axes, x: NDArray[Any], true: NDArray[Any], predicted: NDArray[Any]) -> None:
    size = 3 if len(x) <= 60 else 0
    axes.plot(x, true, color=BLUE, linewidth=1.3, marker="o", markersize=size, label="truth")
    axes.plot(x, predicted, color=ORANGE, linewidth=1.3, marker="o", markersize=size, label="forecast")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
