"""What an image is described by: brightness, contrast, sharpness, and which way its edges and its mass lie.

Everything is computed from whole numbers, so that it comes out alike however images are put into batches. Of a large
image evenly spaced pixels stand for all: these are statistics of images, and a model's first layer costs more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]

MOST_PIXELS = 64
"""Along each side."""
# Of the brightest value: a sixteenth of a grey level of 255. Squares of differences fit into int64 by far.
_LEVELS = 4080
_FARTHEST = 4.0
_COLOURS = ("red", "green", "blue")
_DARK, _BRIGHT = 0.05, 0.95


def image_features(
    channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[str, ...], Callable[[NDArray[Any]], Numbers]]:
    """Names, and the way from standardised pixels [n, C, H, W] to their values [n, names].

    | name | of an image, brightness from 0 to 1 |
    |---|---|
    | intensity, contrast | mean and deviation of all pixels |
    | red, green, blue, and with `.contrast` | the same of each channel, where there are three |
    | dark, bright | the brightness that 5 % of the pixels, and 95 %, lie at or below |
    | sharpness | root mean square of the differences between neighbouring pixels |
    | orientation, slant | which way the edges run: the double-angle parts of the structure tensor, -1 to 1 |
    | balance.across, balance.down | brightness of the right half less the left's, and of the lower less the upper's |

    A turned image keeps its brightness but not the last four; a blurred one keeps all but its sharpness. The structure
    tensor is that of W. Förstner, E. Gülch (ISPRS Intercommission Workshop 1987, 281-305).
    """
    colours = _COLOURS if channels == len(_COLOURS) else ()
    names = (
        "intensity", "contrast", *colours, *(f"{colour}.contrast" for colour in colours), "dark", "bright",
        "sharpness", "orientation", "slant", "balance.across", "balance.down",
    )  # fmt: skip
    scale, shift = (np.asarray(part).reshape(1, -1, 1, 1) * _LEVELS for part in (std, mean))

    def describe(images_NCHW: NDArray[Any]) -> Numbers:
        levels_NCHW = _levels(images_NCHW, scale, shift)
        samples = len(levels_NCHW)
        thin_NCP = _spaced(levels_NCHW).reshape(samples, channels, -1)
        columns = [*_moments(thin_NCP.reshape(samples, -1))]
        if colours:
            by_channel = [_moments(thin_NCP[:, channel]) for channel in range(channels)]
            columns += [part[0] for part in by_channel] + [part[1] for part in by_channel]
        grey_NHW = levels_NCHW.sum(axis=1)  # of all channels together
        columns += _quantiles(_spaced(grey_NHW[:, None]).reshape(samples, -1), channels)
        columns += [*_edges(grey_NHW, channels), *_balance(_spaced(grey_NHW[:, None])[:, 0], channels)]
        return np.stack(columns, axis=1)

    return names, describe


def _levels(images_NCHW: NDArray[Any], scale: Numbers, shift: Numbers) -> Whole:
    levels = np.rint(images_NCHW * scale + shift)
    return np.clip(levels, -_FARTHEST * _LEVELS, _FARTHEST * _LEVELS).astype(np.int64)


def _stride(size: int) -> int:
    return max(1, -(-size // MOST_PIXELS))


def _spaced(levels_NCHW: Whole) -> Whole:
    height, width = levels_NCHW.shape[2:]
    return np.ascontiguousarray(levels_NCHW[:, :, :: _stride(height), :: _stride(width)])


def _moments(levels_NP: Whole) -> tuple[Numbers, Numbers]:
    """Mean and deviation, as shares of the brightest value."""
    pixels = max(levels_NP.shape[1], 1)
    mean = levels_NP.sum(axis=1) / pixels
    variance = np.maximum((levels_NP * levels_NP).sum(axis=1) / pixels - mean * mean, 0.0)
    return mean / _LEVELS, np.sqrt(variance) / _LEVELS


def _quantiles(grey_NP: Whole, channels: int) -> list[Numbers]:
    last = grey_NP.shape[1] - 1
    places = [int(_DARK * last), int(_BRIGHT * last)]
    ordered = np.partition(grey_NP, sorted(set(places)), axis=1)
    return [ordered[:, place] / (_LEVELS * channels) for place in places]


def _edges(grey_NHW: Whole, channels: int) -> tuple[Numbers, Numbers, Numbers]:
    """Sharpness, and the double-angle parts of the structure tensor as shares of it; 0 where there is no edge."""
    height, width = grey_NHW.shape[1:]
    if min(height, width) < 2:
        nothing = np.zeros(len(grey_NHW))
        return nothing, nothing, nothing
    rows, columns = slice(0, height - 1, _stride(height)), slice(0, width - 1, _stride(width))
    here = grey_NHW[:, rows, columns]
    across = (grey_NHW[:, :, 1:][:, rows, columns] - here).reshape(len(here), -1)
    down = (grey_NHW[:, 1:][:, rows, columns] - here).reshape(len(here), -1)
    along, beside = (across * across).sum(axis=1), (down * down).sum(axis=1)
    energy = along + beside
    sharpness = np.sqrt(energy / (2 * across.shape[1])) / (_LEVELS * channels)
    whole = np.maximum(energy, 1)
    return sharpness, (along - beside) / whole, 2 * (across * down).sum(axis=1) / whole


def _balance(grey_NHW: Whole, channels: int) -> tuple[Numbers, Numbers]:
    samples, height, width = grey_NHW.shape
    found = []
    for halves in (
        (grey_NHW[:, :, width - width // 2 :], grey_NHW[:, :, : width // 2]),
        (grey_NHW[:, height - height // 2 :], grey_NHW[:, : height // 2]),
    ):
        later, earlier = (half.reshape(samples, -1) for half in halves)
        difference = later.sum(axis=1) - earlier.sum(axis=1)
        found.append(difference / (max(later.shape[1], 1) * _LEVELS * channels))
    return found[0], found[1]
