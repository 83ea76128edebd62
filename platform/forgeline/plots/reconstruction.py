"""How far the errors of reconstructions tell anomalies from normal samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forgeline.plots.figure import BLUE, GREY, ORANGE, new_figure, styled

_BINS = 40


def anomaly_scores(scores: NDArray[Any], anomalous: NDArray[Any], threshold: float | None) -> Figure:
    """Histograms of the scores of normal samples and of anomalies, with the threshold between them.

    Args:
        scores: [n] errors of the reconstructions.
        anomalous: [n] 1 for anomalies, 0 for normal samples.
        threshold: above it a sample is taken for an anomaly; None where there is none yet.
    """
    figure = new_figure(6.4, 3.8)
    taken = np.zeros(len(scores), dtype=bool) if threshold is None else scores > threshold
    kinds = [("normal", anomalous == 0, BLUE), ("anomaly", anomalous == 1, ORANGE)]
    said = [f"{int(taken[of].sum())} of {int(of.sum())} {name}" for name, of, _ in kinds if of.any()]
    title = "" if threshold is None else f"above the threshold {threshold:.4g}: {', '.join(said)}"
    axes = styled(figure.add_subplot(), title=title, x="error of the reconstruction", y="samples")
    edges = np.linspace(float(scores.min()), float(scores.max()), _BINS + 1).tolist()
    for name, of, colour in kinds:
        if of.any():
            axes.hist(scores[of], bins=edges, color=colour, alpha=0.65, label=name)
    if threshold is not None:
        axes.axvline(threshold, color=GREY, linewidth=1.0, linestyle="--", label="threshold")
    axes.legend(fontsize=8, frameon=False)
    return figure
