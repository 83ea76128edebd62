"""What a classifier confuses, how well it ranks, and whether its confidence can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from forgeline.metrics import reliability, roc_areas
from forgeline.plots.figure import BLUE, GREY, ORANGE, PALETTE, new_figure, plain, styled

# Up to here every class has its numbers in the matrix and its line in the legend.
FEW_CLASSES = 20
_TICKS = 60
_WORST = 6


def confusion_matrix(probabilities: NDArray[Any], targets: NDArray[Any], classes: Sequence[str]) -> Figure:
    """Counts of true (rows) against predicted classes, coloured by the share of the row.

    With many classes the colours stay, the numbers in the cells give way to a list of the worst confusions.

    Args:
        probabilities: [n, classes].
        targets: [n] class numbers.
        classes: names in the order of the columns.
    """
    size = len(classes)
    predicted = probabilities.argmax(axis=1)
    counts = np.bincount(targets * size + predicted, minlength=size * size).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = size <= FEW_CLASSES
    side = 3.6 + 0.5 * size if few else min(5.0 + 0.16 * size, 15.0)
    figure = new_figure(side + 1.2, side)
    right = int(np.trace(counts))
    title = f"accuracy {right / max(len(targets), 1):.3f}: {right} of {len(targets)} right"
    axes = styled(figure.add_subplot(), title=title, x="predicted", y="true", grid=False)
    picture = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label("share of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=8)

    ticks = range(0, size, math.ceil(size / _TICKS))
    names = [plain(classes[tick]) for tick in ticks]
    small = 8 if few else 6
    upright = few and max(map(len, names), default=0) <= 4
    axes.set_xticks(ticks, names, rotation=0 if upright else 90, fontsize=small)
    axes.set_yticks(ticks, names, fontsize=small)
    if few:
        for row, column in np.argwhere(counts > 0):
            light = shares[row, column] > 0.55
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if light else "#1d2733",
            )
    else:
        wrong = counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(wrong, axis=None, kind="stable")[::-1][:_WORST]
        pairs = [divmod(int(place), size) for place in order if wrong.flat[int(place)]]
        said = [f"{plain(classes[a], 18)} → {plain(classes[b], 18)} ({wrong[a, b]})" for a, b in pairs]
        if said:
            lines = [",  ".join(said[start : start + 2]) for start in range(0, len(said), 2)]
            axes.set_xlabel("predicted\n\nmost confused (true → predicted):\n" + "\n".join(lines), fontsize=9)
    return figure


def roc_curves(probabilities: NDArray[Any], targets: NDArray[Any], classes: Sequence[str]) -> Figure:
    """Each class against the rest; of two classes, the second. Classes without samples are left out and named.

    With many classes the ones that rank worst are coloured and named, the others grey.

    Args:
        probabilities: [n, classes].
        targets: [n] class numbers.
        classes: names in the order of the columns.
    """
    from sklearn.metrics import roc_curve

    areas = roc_areas(probabilities, targets)
    if len(classes) == 2:
        areas = {number: area for number, area in areas.items() if number == 1}
    many = len(areas) > FEW_CLASSES
    worst_first = sorted(areas, key=lambda number: areas[number])
    named = worst_first[:_WORST] if many else list(areas)

    figure = new_figure(8.6, 5.2)
    mean = f"mean area {np.mean(list(areas.values())):.3f}" if areas else "no class has samples on both sides"
    notes = _absent(targets, classes)
    title = "\n".join([mean, *([notes] if notes else [])])
    axes = styled(figure.add_subplot(), x="false positive rate", y="true positive rate")
    axes.set_title(title, fontsize=10, loc="left")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="chance")
    greys = [number for number in worst_first if number not in named]
    for position, number in enumerate(greys):
        false, true, _ = roc_curve(targets == number, probabilities[:, number])
        label = f"the other {len(greys)} classes" if position == 0 else "_other"
        axes.plot(false, true, color="#c3c8cf", linewidth=0.7, label=label)
    colours = PALETTE[::2] + PALETTE[1::2]
    for position, number in enumerate(named):
        false, true, _ = roc_curve(targets == number, probabilities[:, number])
        # The area comes first: matplotlib hides labels that begin with an underscore.
        label = f"{areas[number]:.3f}  {plain(classes[number])}"
        axes.plot(false, true, color=colours[position % len(colours)], linewidth=1.5, label=label)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    heading = f"area, the {len(named)} worst" if many else "area"
    axes.legend(fontsize=8, frameon=False, title=heading, title_fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def reliability_diagram(probabilities: NDArray[Any], targets: NDArray[Any]) -> Figure:
    """Confidence in the predicted class against how often it is right, with the samples per bin below.

    Args:
        probabilities: [n, classes].
        targets: [n] class numbers.
    """
    bins = reliability(probabilities, targets)
    figure = new_figure(5.4, 6.2)
    grid = figure.add_gridspec(2, 1, height_ratios=[3, 1])
    above = styled(figure.add_subplot(grid[0]), title=f"expected calibration error {bins.ece:.4f}", y="accuracy")
    below = styled(figure.add_subplot(grid[1], sharex=above), x="confidence in the predicted class", y="samples")
    left, width = bins.edges[:-1], np.diff(bins.edges)
    filled = bins.counts > 0
    style: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
    above.bar(left[filled], bins.accuracy[filled], width[filled], color=BLUE, alpha=0.75, label="accuracy", **style)
    above.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle="--", label="perfectly calibrated")
    above.plot(
        bins.confidence[filled],
        bins.accuracy[filled],
        color=ORANGE,
        marker="o",
        markersize=4,
        linewidth=1.2,
        label="at the mean confidence",
    )
    above.set_xlim(0.0, 1.0)
    above.set_ylim(0.0, 1.02)
    above.tick_params(labelbottom=False)
    above.legend(fontsize=8, frameon=False, loc="upper left")
    below.bar(left, bins.counts, width, color=GREY, **style)
    below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return figure


def _absent(targets: NDArray[Any], classes: Sequence[str]) -> str:
    present = np.bincount(targets, minlength=len(classes)) > 0
    absent = [plain(name, 16) for name, there in zip(classes, present, strict=True) if not there]
    if not absent:
        return ""
    listed = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
    return f"left out, no samples ({len(absent)} of {len(classes)}): {listed}"
