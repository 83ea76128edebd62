"""Augmentation: a sample's change depends on (seed, epoch, index) and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_jobs.data.augmentation import ImageAugmentation, ImageAugmenter, SeriesAugmentation, SeriesAugmenter
from forgeline_jobs.data.randomness import normal, permutation, uniform

IMAGES = np.random.default_rng(0).random((16, 3, 9, 7)).astype(np.float32)
BLACK = np.asarray([-1.0, -0.5, 0.0], dtype=np.float32)
EVERYTHING = [
    ImageAugmentation(shift=2),
    ImageAugmentation(flip=True),
    ImageAugmentation(rotate=20, scale=0.2, shift=1),
    ImageAugmentation(noise=0.3, erase=3),
    ImageAugmentation(brightness=0.4),
]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(EVERYTHING), st.permutations(range(16)), st.integers(1, 16), st.integers(0, 9), st.integers(0, 9)
)
def test_the_batch_does_not_matter(
    config: ImageAugmentation, order: list[int], size: int, seed: int, epoch: int
) -> None:
    augment = ImageAugmenter(config, BLACK)
    indices = np.asarray(order[:size])
    whole = augment({"image": IMAGES.copy()}, np.arange(16), (seed, epoch))["image"]
    part = augment({"image": IMAGES[indices]}, indices, (seed, epoch))["image"]
    np.testing.assert_array_equal(part, whole[indices])
    assert part.dtype == np.float32


@pytest.mark.parametrize("config", EVERYTHING)
def test_epochs_and_seeds_differ(config: ImageAugmentation) -> None:
    augment = ImageAugmenter(config, BLACK)
    first, second, third = (
        augment({"image": IMAGES.copy()}, np.arange(16), k)["image"] for k in [(0, 0), (0, 1), (1, 0)]
    )
    assert not np.array_equal(first, second) and not np.array_equal(first, third)


def test_a_shift_fills_with_black_and_moves_whole_pixels() -> None:
    images = np.ones((64, 3, 9, 7), dtype=np.float32)
    shifted = ImageAugmenter(ImageAugmentation(shift=2), BLACK)({"image": images}, np.arange(64), (0, 0))["image"]
    for channel in range(3):
        assert set(np.unique(shifted[:, channel])) <= {np.float32(1), BLACK[channel]}


def test_a_brightness_is_a_factor_of_the_whole_picture_and_leaves_black_black() -> None:
    images = np.stack([np.full((9, 7), black, dtype=np.float32) for black in BLACK])[None].repeat(64, axis=0)
    images[:, :, 4:] += 2.0
    bright = ImageAugmenter(ImageAugmentation(brightness=0.4), BLACK)({"image": images}, np.arange(64), (0, 0))["image"]
    np.testing.assert_allclose(bright[:, :, :4], images[:, :, :4], atol=1e-6)
    factors = (bright[:, :, 4:] - BLACK.reshape(1, 3, 1, 1)) / 2.0
    np.testing.assert_allclose(factors, factors[:, :1, :1, :1].repeat(3, 1).repeat(5, 2).repeat(7, 3), atol=1e-5)
    assert 0.6 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.4


def test_no_rotation_changes_nothing() -> None:
    tiny = ImageAugmentation(rotate=1e-9)
    warped = ImageAugmenter(tiny, BLACK)({"image": IMAGES.copy()}, np.arange(16), (0, 0))["image"]
    np.testing.assert_allclose(warped, IMAGES, atol=1e-5)


def test_a_rotation_agrees_with_pillow() -> None:
    from PIL import Image

    image = np.zeros((1, 1, 21, 21), dtype=np.float32)
    image[0, 0, 6:14, 8:12] = 1.0
    augment = ImageAugmenter(ImageAugmentation(rotate=30), np.zeros(1, dtype=np.float32))
    ours = augment({"image": image.copy()}, np.arange(1), (0, 0))["image"][0, 0]
    degrees = 30 * (2 * uniform((0, 0), np.arange(1), 4, stream="warp")[0, 0] - 1)
    theirs = [
        np.asarray(Image.fromarray(image[0, 0]).rotate(sign * degrees, Image.Resampling.BILINEAR)) for sign in (1, -1)
    ]
    assert min(float(np.abs(ours - other).mean()) for other in theirs) < 0.02


def test_a_series_is_rolled_scaled_and_noised() -> None:
    series = np.arange(40, dtype=np.float32).reshape(4, 10, 1)
    rolled = SeriesAugmenter(SeriesAugmentation(shift=3))({"series": series}, np.arange(4), (0, 0))["series"]
    np.testing.assert_array_equal(np.sort(rolled, axis=1), series)
    loud = SeriesAugmenter(SeriesAugmentation(scale=0.5, noise=0.1))({"series": series}, np.arange(4), (0, 0))["series"]
    assert loud.shape == series.shape and not np.array_equal(loud, series)


def test_the_numbers_are_uniform_normal_and_independent() -> None:
    indices = np.arange(20_000)
    numbers = uniform((3, 4), indices, 3, stream="a")
    assert numbers.min() >= 0 and numbers.max() < 1
    np.testing.assert_allclose(np.histogram(numbers, bins=20, range=(0, 1))[0], 3000, rtol=0.1)
    others = uniform((3, 4), indices, 3, stream="b")
    following = uniform((3, 5), indices, 3, stream="a")
    columns = np.concatenate([numbers, others, following, np.roll(numbers, 1, axis=0)], axis=1)
    correlations = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlations).max() < 0.03
    drawn = normal((0, 0), indices, 3, stream="n")
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02


def test_the_order_is_a_permutation() -> None:
    assert sorted(permutation(50, seed=1, epoch=2)) == list(range(50))
    assert permutation(50, seed=1, epoch=2).tolist() != permutation(50, seed=2, epoch=1).tolist()
