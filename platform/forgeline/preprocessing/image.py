"""Images: decoded by Pillow, brought to one size and channel count, scaled to 0–1 and standardised per channel.

Without `resize` an image of another size is refused, because stretching silently what a model was not trained on hides
mistakes. `pixel_max` is the brightest value of the training data (255, or 16 for scikit-learn's digits): files, which
are always 0–255, are brought to it, arrays are taken to be in its units already and refused where they cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import existing, read_arrays
from forgeline.preprocessing.target import Target

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImagePreprocessing(FittedPreprocessing):
    """`image` [n, C, H, W] float32 from files, Pillow images or arrays."""

    kind: Literal["image"] = "image"
    height: int
    width: int
    channels: Literal[1, 3]
    pixel_max: float = 255.0
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: bool = False

    @classmethod
    def fit(
        cls, pixels_NHWC: NDArray[Any], *, target: Target | None, pixel_max: float = 255.0, resize: bool = False
    ) -> ImagePreprocessing:
        """Mean and deviation per channel of train images; one channel's for all if a channel is constant."""
        _, height, width, channels = pixels_NHWC.shape
        scaled = pixels_NHWC.reshape(-1, channels).astype(np.float64) / pixel_max
        mean, std = scaled.mean(axis=0), scaled.std(axis=0)
        return cls(
            height=height,
            width=width,
            channels=1 if channels == 1 else 3,
            pixel_max=pixel_max,
            mean=tuple(float(m) for m in mean),
            std=tuple(float(s) if s > 1e-6 else 1.0 for s in std),
            resize=resize,
            target=target,
        )

    @classmethod
    def symmetric(
        cls,
        height: int,
        width: int,
        channels: Literal[1, 3],
        *,
        target: Target | None,
        pixel_max: float = 255.0,
        resize: bool = False,
    ) -> ImagePreprocessing:
        """Pixels from -1 (black) to 1, whatever the images hold: what generators learn to make."""
        return cls(
            height=height,
            width=width,
            channels=channels,
            pixel_max=pixel_max,
            mean=(0.5,) * channels,
            std=(0.5,) * channels,
            resize=resize,
            target=target,
        )

    def decode_samples(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """[n, C, H, W] as the model makes them -> [n, H, W, C], 0 to 255 whatever `pixel_max` is, as in a file."""
        shares = samples.transpose(0, 2, 3, 1).astype(np.float64) * self.std + self.mean
        pixels: NDArray[np.uint8] = (shares.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
        return pixels

    def encode_condition(self, name: str, values: Sequence[Any]) -> NDArray[Any]:
        """The numbers of labels, or the pictures of `source` [n, C, H, W] that are to be translated.

        Raises:
            DataError: the model has no such condition, or a value is none that it takes.
        """
        return self.encode(values)["image"] if name == "source" else super().encode_condition(name, values)

    def encode(self, raw: Any) -> Arrays:
        """Paths, Pillow images or arrays ([n, h, w], [n, h, w, c] or one image) -> `image`.

        Raises:
            DataError: an image cannot be decoded, has another size and the model does not resize, or is an array in
                other units than those of the training data.
        """
        if isinstance(raw, np.ndarray):
            return {"image": self.standardise(self._from_array(raw))}
        items = _items(raw)
        pixels = np.empty((len(items), self.height, self.width, self.channels), dtype=np.float32)
        for number, item in enumerate(items):
            pixels[number] = self._one(item)
        return {"image": self.standardise(pixels)}

    def is_one(self, array: NDArray[Any]) -> bool:
        """Whether an array is a single image, [h, w] or [h, w, c], and not [n, h, w] of n grey ones."""
        if array.ndim != 3:
            return array.ndim == 2
        size, own = (self.height, self.width), array.shape[-1] == self.channels
        if array.shape[1:] == size:
            return own and array.shape[:2] == size
        return own or array.shape[:2] == size

    def standardise(self, pixels_NHWC: NDArray[Any]) -> NDArray[np.float32]:
        """[n, H, W, C] in units of `pixel_max` -> [n, C, H, W] float32, standardised."""
        scale = (1.0 / (self.pixel_max * np.asarray(self.std))).astype(np.float32)
        shift = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        images_NHWC = pixels_NHWC.astype(np.float32) * scale - shift
        return np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2))

    @property
    def black(self) -> NDArray[np.float32]:
        """What a pixel of value 0 becomes, per channel: the fill of an augmented image's edges."""
        black: NDArray[Any] = -np.asarray(self.mean) / np.asarray(self.std)
        return black.astype(np.float32)

    def _one(self, item: Any) -> NDArray[Any]:
        if isinstance(item, np.ndarray):
            return np.asarray(self._from_array(item[None] if item.ndim == 3 else item)[0])
        pixels = decode_image(item, channels=self.channels, size=(self.height, self.width) if self.resize else None)
        self._check_size(pixels.shape[0], pixels.shape[1], item)
        return pixels * np.float32(self.pixel_max / 255.0)

    def _from_array(self, array: NDArray[Any]) -> NDArray[Any]:
        """[h, w], [h, w, c], [n, h, w] or [n, h, w, c] -> [n, H, W, C]."""
        if self.is_one(array):
            array = array[None]
        if array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.dtype.kind not in "biuf":
            raise DataError(
                f"got an array of {array.dtype} {list(array.shape)}; allowed: numbers [n, h, w] or [n, h, w, c]"
            )
        if array.shape[3] == 1 and self.channels == 3:
            array = np.repeat(array, 3, axis=3)
        if array.shape[3] != self.channels:
            raise DataError(f"got {array.shape[3]} channels; the model takes {self.channels}")
        self.check_units(array)
        if array.shape[1:3] != (self.height, self.width) and self.resize:
            array = resize_pixels(array, (self.height, self.width))
        self._check_size(array.shape[1], array.shape[2], "the array")
        return array

    def check_units(self, array: NDArray[Any]) -> None:
        """Refuse what can only be in other units, with room for what resizing and noise add.

        Fractions (and truth values) up to 1 are 0 to 1, unless the training images were as dark; whole numbers up to 1
        are the darkest of 0 to `pixel_max`.
        """
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        bright = max(self.mean) * self.pixel_max > 1.0
        share = array.dtype.kind in "bf" and 0.0 < high <= 1.0 and bright
        if share or not (high <= 2.0 * self.pixel_max and (low >= -0.01 * self.pixel_max or not bright)):
            raise DataError(
                f"the pixels are {array.dtype} from {low:g} to {high:g}; the model was trained on pixels from 0 to "
                f"{self.pixel_max:g}: scale them to that, or give the images as files or Pillow images"
            )

    def _check_size(self, height: int, width: int, item: Any) -> None:
        if (height, width) != (self.height, self.width):
            name = f"`{item}`" if isinstance(item, str | Path) else "the image"
            raise DataError(f"{name} is {height}x{width} (height x width); the model takes {self.height}x{self.width}")

    def read(self, path: str | Path) -> list[Path] | NDArray[Any]:
        """An image, a folder of images (sorted by path), or the `images` of an .npz file."""
        place = existing(path)
        if place.suffix.lower() == ".npz":
            arrays = read_arrays(place)
            if "images" not in arrays:
                raise DataError(f"`{place}` has no array `images`; it has {', '.join(sorted(arrays)) or 'none'}")
            return arrays["images"]
        if place.is_dir():
            files = image_files(place)
            if not files:
                raise DataError(f"`{place}` holds no images; allowed: {', '.join(IMAGE_SUFFIXES)}")
            return files
        if place.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"`{place}` is not an image; allowed: {', '.join((*IMAGE_SUFFIXES, '.npz'))}")
        return [place]

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """The path of each image that came from a file."""
        import pandas as pd

        if isinstance(raw, np.ndarray) or not all(isinstance(item, str | Path) for item in _items(raw)):
            return pd.DataFrame()
        return pd.DataFrame({"path": [str(item) for item in _items(raw)]})

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """Shape and units of the pixels, and the columns of a prediction."""
        shape = [-1, self.height, self.width, self.channels]
        pixels = {"name": "image", "type": "tensor", "dtype": "float32", "shape": shape, "range": [0, self.pixel_max]}
        return {"kind": "image", "inputs": [pixels], "outputs": self.target.columns() if self.target else []}


def _items(raw: Any) -> Sequence[Any]:
    """Several images as they are, a single one (a path, a Pillow image) as one of them."""
    return raw if isinstance(raw, Sequence) and not isinstance(raw, str) else [raw]


def image_files(folder: Path) -> list[Path]:
    """All images below a folder, sorted by path; hidden files are passed over."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def decode_image(
    item: Any, *, channels: int, size: tuple[int, int] | None, key: str | None = None
) -> NDArray[np.uint8]:
    """One file or Pillow image -> [h, w, channels] uint8, turned as its EXIF says, resized when `size` is given.

    Raises:
        DataError: it cannot be decoded; the message names the file.
    """
    from PIL import Image, ImageOps

    opened = nullcontext(item) if isinstance(item, Image.Image) else None
    try:
        with opened or Image.open(item) as image:
            plain = _eight_bits(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
        if size is not None and plain.size != (size[1], size[0]):
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(plain, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG chunk as SyntaxError.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"`{item}` cannot be decoded as an image: {reason}", key=key) from error
    return pixels.reshape(pixels.shape[0], pixels.shape[1], channels)


def resize_pixels(pixels_NHWC: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear resize of each image and channel, in the units that the pixels have."""
    from PIL import Image

    count, _, _, channels = pixels_NHWC.shape
    resized = np.empty((count, *size, channels), dtype=np.float32)
    for number in range(count):
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(pixels_NHWC[number, :, :, channel], dtype=np.float32))
            resized[number, :, :, channel] = np.asarray(plane.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return resized


def _eight_bits(image: Image) -> Image:
    """16-bit images scaled to 8; Pillow's own conversion cuts everything above 255 off."""
    from PIL import Image as PillowImage

    if not image.mode.startswith("I"):
        return image
    return PillowImage.fromarray((np.asarray(image).astype(np.float64) / 257.0).clip(0, 255).round().astype(np.uint8))
