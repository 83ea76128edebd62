"""Images: files and arrays meet in the same pixels; a wrong size or a broken file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ImagePreprocessing, load_preprocessing

TARGET = ClassTarget(name="y", classes=("a", "b"))


def fitted(*, resize: bool = False, channels: int = 1, pixel_max: float = 255.0) -> ImagePreprocessing:
    pixels = np.random.default_rng(0).integers(0, int(pixel_max) + 1, (20, 6, 8, channels))
    return ImagePreprocessing.fit(pixels, target=TARGET, resize=resize, pixel_max=pixel_max)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_train_images_come_out_standardised() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 6, 8, 3))
    encoded = ImagePreprocessing.fit(pixels, target=TARGET).encode(pixels)["image"]
    assert encoded.shape == (50, 3, 6, 8) and encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(axis=(0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("pixel_max", [255.0, 16.0])
def test_a_file_and_an_array_give_the_same(tmp_path: Path, pixel_max: float) -> None:
    preprocessing = fitted(pixel_max=pixel_max)
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8)).astype(np.uint8)
    from_file = preprocessing.encode([saved(tmp_path / "x.png", pixels)])["image"]
    from_array = preprocessing.encode(pixels * (pixel_max / 255.0))["image"]
    np.testing.assert_allclose(from_file, from_array, atol=1e-4)


def test_forms_of_arrays() -> None:
    preprocessing = fitted()
    for shape in [(6, 8), (3, 6, 8), (3, 6, 8, 1)]:
        assert preprocessing.encode(np.zeros(shape))["image"].shape[1:] == (1, 6, 8)
    with pytest.raises(DataError, match="got 2 channels"):
        preprocessing.encode(np.zeros((1, 6, 8, 2)))
    with pytest.raises(DataError, match="got 3 channels"):
        preprocessing.encode(np.zeros((6, 8, 3)))
    assert fitted(resize=True).encode(np.zeros((12, 9, 1)))["image"].shape == (1, 1, 6, 8), "one image"


def test_wrong_size_is_refused_unless_the_model_resizes(tmp_path: Path) -> None:
    path = saved(tmp_path / "big.png", np.zeros((12, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"big.png` is 12x9 .*takes 6x8"):
        fitted().encode([path])
    assert fitted(resize=True).encode([path])["image"].shape == (1, 1, 6, 8)
    assert fitted(resize=True).encode(np.zeros((2, 12, 9)))["image"].shape == (2, 1, 6, 8)


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep.png", np.full((6, 8), 32896, dtype=np.uint16))
    preprocessing = fitted()
    np.testing.assert_allclose(
        preprocessing.encode([path])["image"], preprocessing.encode(np.full((6, 8), 128.0))["image"]
    )


def test_one_pillow_image_or_several() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    image, preprocessing = Image.fromarray(pixels), fitted(channels=3)
    expected = preprocessing.encode(pixels)["image"]
    for raw in (image, [image], (image,)):
        np.testing.assert_array_equal(preprocessing.encode(raw)["image"], expected)
        assert not len(preprocessing.row_labels(raw).columns)


def test_pixels_in_other_units_are_refused() -> None:
    bright = np.random.default_rng(4).integers(100, 256, (2, 6, 8))
    refused: list[tuple[ImagePreprocessing, np.ndarray]] = [
        (fitted(), bright / 255.0),
        (fitted(), bright > 128),
        (fitted(), bright / 127.5 - 1.0),
        (fitted(), bright.astype(np.uint16) * 257),
        (fitted(), np.where(bright > 128, np.nan, bright)),
        (fitted(pixel_max=16.0), bright.astype(np.uint8)),
        (fitted(pixel_max=16.0), bright / 255.0),
        (fitted(pixel_max=1.0), bright.astype(np.uint8)),
    ]
    for preprocessing, pixels in refused:
        expected = (
            f"the pixels are {pixels.dtype} from .* trained on pixels from 0 to {preprocessing.pixel_max:g}: scale"
        )
        with pytest.raises(DataError, match=expected):
            preprocessing.encode(pixels)
        with pytest.raises(DataError, match=expected):
            preprocessing.encode(list(pixels))


def test_pixels_in_the_units_of_the_training_data_are_read_as_they_are() -> None:
    bright = np.random.default_rng(4).integers(100, 256, (2, 6, 8))
    for pixel_max, pixels in [(255.0, bright.astype(np.float32)), (16.0, bright / 16.0), (1.0, bright / 255.0)]:
        np.testing.assert_allclose(
            fitted(pixel_max=pixel_max).encode(pixels)["image"],
            fitted(pixel_max=pixel_max).standardise(pixels[..., None]),
        )
    for dark in (np.zeros((6, 8)), np.ones((6, 8), dtype=np.uint8)):
        assert np.isfinite(fitted().encode(dark)["image"]).all()


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", np.random.default_rng(0).integers(0, 255, (6, 8)).astype(np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cut.png` cannot be decoded"):
        fitted().encode([good, cut])


def test_read(tmp_path: Path) -> None:
    preprocessing = fitted()
    with pytest.raises(DataError, match="holds no images"):
        preprocessing.read(tmp_path)
    path = saved(tmp_path / "x.png", np.zeros((6, 8), dtype=np.uint8))
    assert preprocessing.read(tmp_path) == [path] == preprocessing.read(path)
    assert preprocessing.row_labels([path])["path"].tolist() == [str(path)]
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 6, 8)))
    assert preprocessing.encode(preprocessing.read(tmp_path / "x.npz"))["image"].shape == (2, 1, 6, 8)


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, (2, 6, 8, 1)), st.booleans())
def test_json_gives_the_same_encoding(pixels: np.ndarray, resize: bool) -> None:
    preprocessing = fitted(resize=resize)
    restored = load_preprocessing(preprocessing.model_dump(mode="json"))
    np.testing.assert_array_equal(preprocessing.encode(pixels)["image"], restored.encode(pixels)["image"])
