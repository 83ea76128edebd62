"""Images that stay in their files until a batch needs them, then in memory as bytes while all of them would fit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing import ImagePreprocessing
from forgeline.preprocessing.image import decode_image
from forgeline_jobs.data.arrays import Augment
from forgeline_jobs.data.base import Batch, Indices, Keys

_KEEP_BYTES = 1 << 30
_THREADS = 4  # Pillow decodes without the interpreter lock
_SHOWN = 5


@dataclass
class ImageFiles:
    """Files that decode to one size and channel count."""

    files: Sequence[Path]
    height: int
    width: int
    channels: Literal[1, 3]
    resize: bool
    _kept: NDArray[np.uint8] | None = field(default=None, repr=False)
    _is_kept: NDArray[np.bool_] | None = field(default=None, repr=False)

    @classmethod
    def detect(
        cls, files: Sequence[Path], *, size: tuple[int, int] | None, channels: Literal[1, 3] | None
    ) -> ImageFiles:
        """Size and channels as asked for, or those of the first file."""
        first = decode_image(files[0], channels=3, size=size, key="data.path")
        if channels is None:
            channels = 1 if bool((first == first[..., :1]).all()) and _is_grey(files[0]) else 3
        return cls(files, first.shape[0], first.shape[1], channels, size is not None)

    def pixels(self, rows: Indices) -> NDArray[np.uint8]:
        """[n, H, W, C] of the files at `rows`.

        Raises:
            DataError: a file cannot be decoded or has another size.
        """
        each = self.height * self.width * self.channels
        if len(self.files) * each > _KEEP_BYTES:
            return self._decode(rows)
        if self._kept is None or self._is_kept is None:
            self._kept = np.empty((len(self.files), self.height, self.width, self.channels), dtype=np.uint8)
            self._is_kept = np.zeros(len(self.files), dtype=np.bool_)
        new = rows[~self._is_kept[rows]]
        if len(new):
            self._kept[new] = self._decode(new)
            self._is_kept[new] = True
        return self._kept[rows]

    def _decode(self, rows: Indices) -> NDArray[np.uint8]:
        if len(rows) < 2 * _THREADS:
            return np.stack([self.one(int(row)) for row in rows])
        with ThreadPoolExecutor(_THREADS) as pool:
            return np.stack(list(pool.map(self.one, rows.tolist())))

    def one(self, row: int) -> NDArray[np.uint8]:
        """One file's pixels."""
        size = (self.height, self.width) if self.resize else None
        pixels = decode_image(self.files[row], channels=self.channels, size=size, key="data.path")
        if pixels.shape[:2] != (self.height, self.width):
            raise DataError(
                f"`{self.files[row]}` is {pixels.shape[0]}x{pixels.shape[1]} (height x width), `{self.files[0]}` is "
                f"{self.height}x{self.width}; give `size` to bring all to one size",
                key="data.size",
            )
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        # What is kept stays where it is: loader processes read the files that they need themselves.
        return {**self.__dict__, "_kept": None, "_is_kept": None}


class ImageFilesSplit:
    """One split of image files."""

    def __init__(
        self,
        images: ImageFiles,
        rows: Indices,
        classes: NDArray[np.int64],
        preprocessing: ImagePreprocessing,
        augment: Augment | None,
    ) -> None:
        self._images = images
        self._rows = rows
        self._classes = classes
        self._preprocessing = preprocessing
        self._augment = augment

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """Decode, standardise and, where keys are given, augment the samples at `indices`."""
        pixels = self._images.pixels(self._rows[indices])
        batch: Batch = {"image": self._preprocessing.standardise(pixels), "target": self._classes[indices]}
        if rng_keys is not None and self._augment is not None:
            return self._augment(batch, indices, rng_keys)
        return batch


def verify_files(images: ImageFiles, rows: Indices) -> None:
    """Decode the files at `rows`.

    Raises:
        DataError: some are corrupt or of another size; the message names the first few.
    """

    def fault(row: int) -> DataError | None:
        try:
            images.one(row)
        except DataError as error:
            return error
        return None

    try:
        images.pixels(rows)
    except DataError:
        with ThreadPoolExecutor(_THREADS) as pool:
            faults = [error for error in pool.map(fault, rows.tolist()) if error is not None]
        if len(faults) == 1:
            raise faults[0] from None
        listed = "; ".join(error.message for error in faults[:_SHOWN])
        raise DataError(f"{len(faults)} of {len(rows)} images are not usable: {listed}", key=faults[0].key) from None


def _is_grey(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as image:
        return image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
