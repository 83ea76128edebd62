"""The captions of coloured shapes: a small grammar with several wordings of each meaning, and the way back.

A meaning is a colour, a shape and a position; `parse` finds it in any wording, so that a caption that a model wrote can
be judged by what it says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.shape_pictures import CARDINALITIES, COLOURS, POSITIONS, SHAPES

# The first of each is the plain one.
_PATTERNS = (
    "a {colour} {shape} at the {position}",
    "a {shape} in {colour} at the {position}",
    "at the {position} a {colour} {shape}",
    "the {position} shows a {colour} {shape}",
)
_OTHER_WORDS = {
    "purple": ("violet",),
    "circle": ("disc",),
    "square": ("box",),
    "cross": ("plus",),
    "centre": ("middle",),
    "top left": ("upper left",),
    "top right": ("upper right",),
    "bottom left": ("lower left",),
    "bottom right": ("lower right",),
}
_VALUES = (tuple(COLOURS), SHAPES, POSITIONS)


def wordings(attributes: Sequence[int]) -> list[str]:
    """Every caption of a colour, shape and position, the plain one first."""
    words = [
        (names[number], *_OTHER_WORDS.get(names[number], ())) for names, number in zip(_VALUES, attributes, strict=True)
    ]
    return [
        pattern.format(colour=colour, shape=shape, position=position)
        for pattern in _PATTERNS
        for colour, shape, position in product(*words)
    ]


def parse(caption: str) -> tuple[int, int, int] | None:
    """Numbers of colour, shape and position that a caption names; None where the grammar does not have it."""
    for pattern in _READERS:
        found = pattern.fullmatch(caption)
        if found is not None:
            colour, shape, position = (_NUMBERS[found[name]] for name in ("colour", "shape", "position"))
            return colour, shape, position
    return None


def meanings(attributes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] one number for each [n, 3] colour, shape and position."""
    _, shapes, positions = CARDINALITIES
    numbers: NDArray[np.int64] = (attributes[:, 0] * shapes + attributes[:, 1]) * positions + attributes[:, 2]
    return numbers


def all_attributes() -> NDArray[np.int64]:
    """[combinations, 3] every colour, shape and position, in the order of their meaning."""
    return np.asarray(list(product(*(range(count) for count in CARDINALITIES))), dtype=np.int64)


def _words(names: Sequence[str]) -> dict[str, int]:
    return {word: number for number, name in enumerate(names) for word in (name, *_OTHER_WORDS.get(name, ()))}


_NUMBERS = {word: number for names in _VALUES for word, number in _words(names).items()}
_READERS = tuple(
    re.compile(
        pattern.format(
            **{
                part: f"(?P<{part}>{'|'.join(_words(names))})"
                for part, names in zip(("colour", "shape", "position"), _VALUES, strict=True)
            }
        )
    )
    for pattern in _PATTERNS
)
