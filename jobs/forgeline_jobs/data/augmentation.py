"""Random changes of training samples, whole batches at a time in numpy.

Each sample's change is a pure function of (seed, epoch, index), so loading in other batches, processes or orders gives
the same pictures. Images come in standardised; what leaves the frame is filled with what black has become.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from forgeline_jobs.data.base import Batch, Indices, Keys
from forgeline_jobs.data.randomness import normal, uniform

Images = NDArray[np.float32]


class ImageAugmentation(BaseModel):
    """Random changes of training images; everything is off at its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: int = Field(default=0, ge=0, description="Largest shift in pixels, each way: a crop of the padded image.")
    flip: bool = Field(default=False, description="Mirror left to right, half of the time.")
    rotate: float = Field(default=0.0, ge=0, le=180, description="Largest rotation in degrees, each way.")
    scale: float = Field(default=0.0, ge=0, lt=1, description="Largest change of size as a share: 0.1 is 90-110 %.")
    brightness: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest change of brightness as a share: 0.4 is 60-140 %, not cut at white.",
    )
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of added noise, in train deviations.")
    erase: int = Field(default=0, ge=0, description="Side in pixels of a square that is blackened (cutout).")

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return self != ImageAugmentation()


class SeriesAugmentation(BaseModel):
    """Random changes of training series; everything is off at its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: int = Field(
        default=0, ge=0, description="Largest shift in steps, each way; what leaves one end enters at the other."
    )
    scale: float = Field(default=0.0, ge=0, lt=1, description="Largest change of amplitude as a share.")
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of added noise, in train deviations.")

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return self != SeriesAugmentation()


class ImageAugmenter:
    """Applies an `ImageAugmentation`.

    Args:
        config: what to change.
        black: [C] value of a black pixel after standardising.
    """

    def __init__(self, config: ImageAugmentation, black: NDArray[np.float32]) -> None:
        self.config = config
        self.black = black.reshape(1, -1, 1, 1).astype(np.float32)

    def __call__(self, batch: Batch, indices: Indices, keys: Keys) -> Batch:
        images: Images = batch["image"]
        config = self.config
        # Filling by 0 is filling by black once black is taken off.
        images = images - self.black
        if config.rotate or config.scale:
            images = _warp(images, config, uniform(keys, indices, 4, stream="warp"))
        elif config.shift:
            images = _shift(images, config.shift, uniform(keys, indices, 2, stream="shift"))
        if config.flip:
            mirrored = uniform(keys, indices, 1, stream="flip")[:, 0] < 0.5
            images[mirrored] = images[mirrored][..., ::-1]
        if config.brightness:
            signed = 2.0 * uniform(keys, indices, 1, stream="bright") - 1.0
            images = images * (1.0 + config.brightness * signed).astype(np.float32)[:, :, None, None]
        if config.erase:
            images = _erase(images, config.erase, uniform(keys, indices, 2, stream="erase"))
        images += self.black
        if config.noise:
            size = int(np.prod(images.shape[1:]))
            images += config.noise * normal(keys, indices, size, stream="noise").reshape(images.shape)
        return {**batch, "image": images.astype(np.float32, copy=False)}


class SeriesAugmenter:
    """Applies a `SeriesAugmentation`."""

    def __init__(self, config: SeriesAugmentation) -> None:
        self.config = config

    def __call__(self, batch: Batch, indices: Indices, keys: Keys) -> Batch:
        series: NDArray[Any] = batch["series"]
        config = self.config
        count, steps, channels = series.shape
        if config.shift:
            numbers = uniform(keys, indices, 1, stream="shift")
            offsets = np.floor(numbers * (2 * config.shift + 1)).astype(np.int64) - config.shift
            places = (np.arange(steps) - offsets) % steps
            series = np.take_along_axis(series, places[..., None], axis=1)
        if config.scale:
            factors = 1.0 + config.scale * (2.0 * uniform(keys, indices, 1, stream="scale") - 1.0)
            series = series * factors[..., None]
        if config.noise:
            noise = normal(keys, indices, steps * channels, stream="noise")
            series = series + config.noise * noise.reshape(count, steps, channels)
        return {**batch, "series": series.astype(np.float32, copy=False)}


def _shift(images: Images, most: int, numbers: NDArray[np.float64]) -> Images:
    """Whole-pixel shifts: a window of the padded image."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
    offsets = np.floor(numbers * (2 * most + 1)).astype(np.int64)
    rows = (offsets[:, :1] + np.arange(height))[:, None, :, None]
    columns = (offsets[:, 1:] + np.arange(width))[:, None, None, :]
    samples = np.arange(count)[:, None, None, None]
    channels = np.arange(images.shape[1])[None, :, None, None]
    shifted: Images = padded[samples, channels, rows, columns]
    return shifted


def _warp(images: Images, config: ImageAugmentation, numbers: NDArray[np.float64]) -> Images:
    """Rotation and scaling about the centre with a shift, read off bilinearly."""
    count, channels, height, width = images.shape
    signed = 2.0 * numbers - 1.0
    angle = np.deg2rad(config.rotate) * signed[:, 0]
    size = 1.0 + config.scale * signed[:, 1]
    shift = np.round(config.shift * signed[:, 2:4])
    cosine, sine = (np.cos(angle) / size)[:, None, None], (np.sin(angle) / size)[:, None, None]
    y = np.arange(height)[None, :, None] - (height - 1) / 2 - shift[:, 0, None, None]
    x = np.arange(width)[None, None, :] - (width - 1) / 2 - shift[:, 1, None, None]
    from_y = (cosine * y - sine * x + (height - 1) / 2).astype(np.float32)
    from_x = (sine * y + cosine * x + (width - 1) / 2).astype(np.float32)
    # One pixel of padding stands for everything outside the frame.
    from_y, from_x = np.clip(from_y, -1, height) + 1, np.clip(from_x, -1, width) + 1
    low_y = np.minimum(from_y.astype(np.int64), height)
    low_x = np.minimum(from_x.astype(np.int64), width)
    part_y, part_x = (from_y - low_y)[:, None], (from_x - low_x)[:, None]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).reshape(count, channels, -1)
    corner = (low_y * (width + 2) + low_x).reshape(count, 1, -1)

    def at(step: int) -> Images:
        return np.take_along_axis(padded, corner + step, axis=2).reshape(images.shape)

    top = at(0) * (1 - part_x) + at(1) * part_x
    bottom = at(width + 2) * (1 - part_x) + at(width + 3) * part_x
    warped: Images = top * (1 - part_y) + bottom * part_y
    return warped.astype(np.float32, copy=False)


def _erase(images: Images, side: int, numbers: NDArray[np.float64]) -> Images:
    """A black square about a random centre (DeVries & Taylor 2017); part of it may lie outside."""
    _, _, height, width = images.shape
    top = np.floor(numbers[:, 0] * height) - side // 2
    left = np.floor(numbers[:, 1] * width) - side // 2
    rows, columns = np.arange(height)[None, :], np.arange(width)[None, :]
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return np.where((in_rows[:, :, None] & in_columns[:, None, :])[:, None], np.float32(0), images)
