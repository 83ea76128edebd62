"""What all figures share: size, fonts, colours, and text that matplotlib must not interpret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 120
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9661f", "#2a8a57", "#8a8f98"
PALETTE = tuple(str(matplotlib.colors.to_hex(colour)) for colour in matplotlib.colormaps["tab20"](np.arange(20)))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that lays itself out and belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def styled(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: bool = True) -> Axes:
    """The axes with labels and the shared look."""
    axes.set_title(plain(title, 200), fontsize=10, loc="left")
    axes.set_xlabel(plain(x, 60), fontsize=9)
    axes.set_ylabel(plain(y, 60), fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(True, color="#e4e6ea", linewidth=0.7)
        axes.set_axisbelow(True)
    return axes


def plain(text: str, longest: int = 24) -> str:
    """A name from the data on one line, shortened, its dollars not taken for formulas."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return short.replace("$", r"\$")


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write `folder/<stem>.png` for each figure, in order; the folder is made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for stem, figure in figures.items():
        path = folder / f"{stem}.png"
        figure.savefig(path, dpi=DPI)
        paths.append(path)
    return paths
