"""Pictures of one coloured shape each, drawn from signed distances: smooth edges, and the same scene at any size.

A pixel takes as much of the shape's colour as the shape covers of it, which near an edge is half a pixel minus the
distance of its centre from the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 90, 220),
    "yellow": (235, 205, 45),
    "purple": (150, 60, 180),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "cross")
POSITIONS = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
CARDINALITIES = (len(COLOURS), len(SHAPES), len(POSITIONS))

# Of the picture's side: where rows and columns lie, how far a shape may be off, and how large it is. Shapes of two
# neighbouring positions never overlap in where their centres are.
_PLACES = np.asarray([0.2, 0.5, 0.8])
_OFF = 0.04
_RADIUS = (0.13, 0.17)
_TURN = np.deg2rad(8.0)  # a square that is turned much further begins to be a diamond
_SHADE = 15.0  # largest change of a colour's channel, each way, of 255
_BACKGROUND = 40.0  # brightest background
# Factors on the radius by which all shapes cover about the same area; a triangle two thirds of it, or it would not fit.
_SQUARE, _TRIANGLE, _ARM, _ARM_WIDTH = 0.86, 1.25, 1.15, 0.4
_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What is in each of n pictures.

    Attributes:
        attributes: [n, 3] numbers of colour, shape and position.
        centre: [n, 2] x and y as shares of the side, from the top left.
        radius: [n] size of the shape as a share of the side.
        turn: [n] rotation in radians.
        colour: [n, 3] red, green and blue, 0 to 255.
        background: [n] grey, 0 to 255.
    """

    attributes: NDArray[np.int64]
    centre: Floats
    radius: Floats
    turn: Floats
    colour: Floats
    background: Floats

    @classmethod
    def draw(cls, attributes: NDArray[np.int64], generator: np.random.Generator) -> Scenes:
        """Scenes with these attributes; all else is drawn."""
        count = len(attributes)
        colours = np.asarray(list(COLOURS.values()), dtype=np.float64)
        row, column = np.divmod(attributes[:, 2], len(_PLACES))
        places = np.stack([_PLACES[column], _PLACES[row]], axis=1)
        return cls(
            attributes=attributes,
            centre=places + generator.uniform(-_OFF, _OFF, (count, 2)),
            radius=generator.uniform(*_RADIUS, count),
            turn=generator.uniform(-_TURN, _TURN, count),
            colour=np.clip(colours[attributes[:, 0]] + generator.uniform(-_SHADE, _SHADE, (count, 3)), 0, 255),
            background=generator.uniform(0, _BACKGROUND, count),
        )

    def render(self, size: int) -> NDArray[np.uint8]:
        """[n, size, size, 3] pixels."""
        pixels = np.empty((len(self.attributes), size, size, 3), dtype=np.uint8)
        for start in range(0, len(pixels), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            covered = np.clip(0.5 - self._distances(part, size) * size, 0.0, 1.0)[..., None]
            background = self.background[part, None, None, None]
            pixels[part] = np.rint(background + covered * (self.colour[part, None, None, :] - background))
        return pixels

    def _distances(self, part: slice, size: int) -> Floats:
        """[m, size, size] distance of each pixel's centre from the shape's edge in sides, negative inside."""
        middles = (np.arange(size) + 0.5) / size
        right = middles[None, None, :] - self.centre[part, 0, None, None]
        down = middles[None, :, None] - self.centre[part, 1, None, None]
        cosine, sine = np.cos(self.turn[part, None, None]), np.sin(self.turn[part, None, None])
        x, y = cosine * right + sine * down, cosine * down - sine * right
        radius = self.radius[part, None, None]
        wide, high = np.abs(x), np.abs(y)
        upright = np.maximum(wide - _ARM_WIDTH * radius, high - _ARM * radius)
        lying = np.maximum(wide - _ARM * radius, high - _ARM_WIDTH * radius)
        # The three sides of a triangle that points up lie half its outer radius from the middle.
        slanted = np.maximum(0.5 * np.sqrt(3.0) * wide - 0.5 * y, y)
        by_shape = (
            np.hypot(x, y) - radius,
            np.maximum(wide, high) - _SQUARE * radius,
            slanted - 0.5 * _TRIANGLE * radius,
            np.minimum(upright, lying),
        )
        return np.choose(self.attributes[part, 1, None, None], by_shape)
