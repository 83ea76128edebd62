"""What a generator made: a grid of pictures, or points in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forgeline.plots.figure import BLUE, GREY, new_figure, styled

_CELL_INCHES = 0.55
_FRAME = 2  # pixels between the pictures, as a share of which nothing is drawn
_LIGHT = 255


def grid(pictures_NHWC: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Pictures row by row in one, [height, width, C], on a white ground.

    >>> grid(np.zeros((3, 4, 4, 1), dtype=np.uint8), columns=2).shape
    (14, 14, 1)
    """
    count, height, width, channels = pictures_NHWC.shape
    rows = -(-count // columns)
    whole = np.full(
        (rows * (height + _FRAME) + _FRAME, columns * (width + _FRAME) + _FRAME, channels), _LIGHT, dtype=np.uint8
    )
    for number, picture in enumerate(pictures_NHWC):
        top = (number // columns) * (height + _FRAME) + _FRAME
        left = (number % columns) * (width + _FRAME) + _FRAME
        whole[top : top + height, left : left + width] = picture
    return whole


def sample_grid(pictures_NHWC: NDArray[np.uint8], columns: int) -> Figure:
    """Pictures row by row, for a run's page."""
    rows = -(-len(pictures_NHWC) // columns)
    figure = new_figure(max(columns * _CELL_INCHES, 2.0), max(rows * _CELL_INCHES, 1.0))
    axes = figure.add_subplot()
    axes.imshow(
        np.squeeze(grid(pictures_NHWC, columns), axis=-1)
        if pictures_NHWC.shape[-1] == 1
        else grid(pictures_NHWC, columns),
        cmap="gray",
        vmin=0,
        vmax=_LIGHT,
        interpolation="nearest",
    )
    axes.set_axis_off()
    return figure


def sample_points(samples: NDArray[Any], data: NDArray[Any] | None = None) -> Figure:
    """The first two columns of samples [n, columns], over those of data."""
    figure = new_figure(4.5, 4.5)
    axes = styled(figure.add_subplot(), x="first column", y="second column")
    for points, colour, label in ((data, GREY, "data"), (samples, BLUE, "samples")):
        if points is not None:
            second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
            axes.scatter(points[:, 0], second, s=3, color=colour, label=label, linewidths=0)
    axes.legend(frameon=False, fontsize=8)
    return figure
