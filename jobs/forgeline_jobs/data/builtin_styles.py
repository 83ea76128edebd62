"""MNIST digits in two styles that are no pairs: half of the digits as they are, the other half changed.

The digit is known in both styles, so that a judge can tell whether a translation kept it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, ImagePreprocessing
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, DataConfig, PreparedData, Split, SplitName
from forgeline_jobs.data.builtin_images import read_mnist5k
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.generation import LABEL, generation_signature, squared
from forgeline_jobs.data.unpaired import SOURCE, UnpairedSplit

Style = Literal["inverted", "stroked"]
_WHITE, _DIGITS = 255, 10


class MnistStylesConfig(DataConfig):
    """Digits of mnist5k, 0 (`plain`) white on black, 1 in another style."""

    name: Literal["mnist-styles"] = "mnist-styles"
    batch_size: int = Field(
        default=16,
        ge=1,
        description="Translations, of either direction, per optimiser step, over all workers together.",
    )
    style: Style = Field(
        default="stroked", description="The other style: black on white (`inverted`), or the outline alone (`stroked`)."
    )
    size: int = Field(
        default=32, ge=16, description="Side in pixels: 28 to 55 puts the digits into a black edge, others resize them."
    )


def prepare_mnist_styles(config: MnistStylesConfig) -> PreparedData:
    """3,600 train, 400 val, 1,000 test: those of mnist5k, no digit in both styles."""
    pixels, digits, indices = read_mnist5k()
    pixels = squared(pixels, config.size)
    target = ClassTarget.fit("style", ["plain", config.style])
    names = {name: number for number, name in enumerate(target.classes)}
    preprocessing = ImagePreprocessing.symmetric(config.size, config.size, 1, target=target)
    shown: dict[SplitName, NDArray[Any]] = {}
    splits: dict[str, Split] = {}
    for name in SPLITS:
        own = digits[indices[name]]
        changed = _every_other(own)
        shown[name] = pixels[indices[name]]
        shown[name][changed] = restyled(shown[name][changed], config.style)
        splits[name] = UnpairedSplit(
            ArraySplit({"image": preprocessing.standardise(shown[name])}),
            np.where(changed, names[config.style], names["plain"]),
            attributes=own[:, None],
            cardinalities=(_DIGITS,),
        )
    shape = (1, config.size, config.size)
    return PreparedData(
        signature=generation_signature("image", shape, {LABEL: len(names)}, source=SOURCE),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays({name: shown[name] for name in SPLITS}),
        summary={
            "samples": indices.sizes(),
            "task": "generation",
            "image": {"channels": 1, "height": config.size, "width": config.size},
            "domains": list(target.classes),
        },
        input_example=None,
    )


def restyled(pixels_NHWC: NDArray[Any], style: Style) -> NDArray[Any]:
    """White digits on black in another style, in the same units.

    A stroke is the morphological gradient: the brightest less the darkest of a pixel and its eight neighbours (Rivest,
    Soille & Beucher 1993, Morphological gradients).
    """
    if style == "inverted":
        return _WHITE - pixels_NHWC
    _, height, width, _ = pixels_NHWC.shape
    padded = np.pad(pixels_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    around = np.stack([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
    stroke: NDArray[Any] = around.max(axis=0) - around.min(axis=0)
    return stroke


def _every_other(digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every second one of each digit."""
    chosen = np.zeros(len(digits), dtype=np.bool_)
    for digit in range(_DIGITS):
        chosen[np.flatnonzero(digits == digit)[1::2]] = True
    return chosen
