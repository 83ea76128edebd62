"""Metrics of a run over its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forgeline.plots.figure import BLUE, GREY, ORANGE, PALETTE, new_figure, plain, styled

History = Mapping[str, Sequence[tuple[int, float]]]

# Shares between 0 and 1 with higher better: they fit one axis.
_SCORES = ("val/accuracy", "val/precision", "val/recall", "val/f1", "val/roc_auc")


def learning_curves(history: History) -> Figure:
    """Losses, the headline metrics of the validation split, and the learning rate; one panel per unit.

    Args:
        history: metric name -> (step, value), in any order. Per-class metrics (`val/f1[cat]`) are not drawn.
    """
    known = {name: sorted(points) for name, points in history.items() if points}
    panels: list[tuple[str, list[str]]] = []
    losses: list[str] = [name for name in ("train/loss", "val/loss") if name in known]
    if losses:
        panels.append(("loss", losses))
    scores = [name for name in _SCORES if name in known]
    if scores:
        panels.append(("scores", scores))
    others = sorted(name for name in known if _headline(name) and name not in {*_SCORES, "val/loss"})
    panels += [(name.removeprefix("val/"), [name]) for name in others]
    if "train/learning_rate" in known:
        panels.append(("learning rate", ["train/learning_rate"]))

    columns = min(3, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = new_figure(max(5.0, 4.2 * columns), 3.2 * rows)
    if not panels:
        axes = styled(figure.add_subplot(), title="no metrics yet", x="step")
        axes.set_yticks([])
        return figure
    for number, (title, names) in enumerate(panels):
        axes = styled(figure.add_subplot(rows, columns, number + 1), title=title, x="step")
        for name, colour in zip(names, _colours(names), strict=True):
            _draw(axes, known[name], name, colour)
        if len(names) > 1 or title == "loss":
            axes.legend(fontsize=8, frameon=False)
    return figure


def _headline(name: str) -> bool:
    return name.startswith("val/") and "[" not in name and name.count("/") == 1


def _colours(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [{"train/loss": BLUE, "train/learning_rate": GREY}.get(names[0], ORANGE)]
    return [BLUE, ORANGE] if len(names) == 2 else list(PALETTE[: 2 * len(names) : 2])


def _draw(axes: Axes, points: Sequence[tuple[int, float]], name: str, colour: str) -> None:
    few = len(points) <= 40
    axes.plot(
        [step for step, _ in points],
        [value for _, value in points],
        color=colour,
        linewidth=1.4,
        marker="o" if few else "",
        markersize=3,
        label=plain(name, 60),
    )
