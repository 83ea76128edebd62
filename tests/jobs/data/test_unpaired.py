"""Pictures of two domains: no pairs, sources that are drawn anew, what a judge is told, the styles of digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forgeline_jobs.data import sources
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, PreparedData, as_int64
from forgeline_jobs.data.builtin_images import read_mnist5k
from forgeline_jobs.data.builtin_styles import restyled
from forgeline_jobs.data.generation import squared
from forgeline_jobs.data.unpaired import UnpairedSplit

DOMAINS = as_int64([0, 0, 0, 1, 1])
KINDS = as_int64([[4], [5], [6], [7], [8]])


def numbered() -> UnpairedSplit:
    """Pictures of one pixel, whose value is their number."""
    pictures = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    return UnpairedSplit(ArraySplit({"image": pictures}), DOMAINS, attributes=KINDS, cardinalities=(9,))


def shown(batch: Any, name: str) -> list[int]:
    return [int(value) for value in batch[name].ravel()]


@pytest.fixture(scope="module")
def styles() -> PreparedData:
    return sources.MNIST_STYLES.prepare(sources.MNIST_STYLES.config_model()(name="mnist-styles"))


def test_a_source_is_of_another_domain_and_elsewhere_always_the_same() -> None:
    split, rows = numbered(), as_int64([4, 0, 3, 1, 2])
    batch = split.batch(rows)
    assert shown(batch, "image") == [4, 0, 3, 1, 2] and shown(batch, "label") == [1, 0, 1, 0, 0]
    assert shown(batch, "source") == [1, 3, 0, 4, 3] == shown(split.batch(rows), "source")
    assert split.asked(rows).tolist() == [[5, 1], [7, 0], [4, 1], [8, 0], [7, 0]]
    assert split.attributes(rows).tolist() == [[8, 1], [4, 0], [7, 1], [5, 0], [6, 0]]
    assert split.attribute_cardinalities == (9, 2)


def test_in_training_it_is_drawn_by_seed_epoch_and_index() -> None:
    split, rows = numbered(), as_int64(np.tile(np.arange(5), 200))
    drawn = split.batch(rows, (0, 1))
    assert (DOMAINS[shown(drawn, "source")] == 1 - drawn["label"]).all()
    assert shown(split.batch(rows[:5], (0, 1)), "source") == shown(drawn, "source")[:5]
    epochs = np.asarray([shown(split.batch(as_int64([3]), (0, epoch)), "source") for epoch in range(300)])
    assert all(80 < (epochs == number).sum() < 120 for number in range(3))


def test_no_digit_is_in_both_styles(styles: PreparedData) -> None:
    pixels, digits, indices = read_mnist5k()
    pixels = squared(pixels, 32)
    for name in SPLITS:
        split: Any = styles.splits[name]
        rows = as_int64(range(len(split)))
        batch, attributes = split.batch(rows), split.attributes(rows)
        own = digits[indices[name]]
        assert np.array_equal(attributes[:, 0], own) and np.array_equal(attributes[:, 1], batch["label"])
        plain = batch["label"] == 0
        assert styles.preprocessing.classes == ("plain", "stroked") and plain.sum() == len(rows) // 2
        assert [plain[own == digit].sum() for digit in range(10)] == [(own == digit).sum() // 2 for digit in range(10)]
        seen = styles.preprocessing.decode_samples(batch["image"])
        assert np.array_equal(seen[plain], pixels[indices[name]][plain])
        assert np.array_equal(seen[~plain], restyled(pixels[indices[name]][~plain], "stroked"))


def test_what_the_styles_are() -> None:
    block = np.zeros((1, 7, 7, 1), dtype=np.uint8)
    block[0, 1:6, 1:6] = 200
    stroke = restyled(block, "stroked")[0, ..., 0]
    assert stroke[2:5, 2:5].sum() == 0 and stroke.sum() == 200 * (49 - 9), "around the edge, on both sides of it"
    assert np.array_equal(restyled(block, "inverted"), 255 - block)


def test_the_classes_of_own_images_are_domains(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for domain, low in (("day", 128), ("night", 0)):
        (tmp_path / domain).mkdir()
        for number in range(10):
            pixels = random.integers(low, low + 128, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / domain / f"{number}.png")
    config = {"name": "images", "path": str(tmp_path), "task": "generation", "condition": "domain"}
    data = sources.IMAGES.prepare(sources.IMAGES.config_model().model_validate(config))
    assert data.signature.conditions == {"label": 2} and data.signature.asked == ("label", "source")
    split: Any = data.splits["train"]
    batch = split.batch(as_int64(range(len(split))))
    assert ((batch["image"].mean((1, 2, 3)) > 0) == (batch["label"] == 0)).all(), "day is the first"
    assert ((batch["source"].mean((1, 2, 3)) > 0) == (batch["label"] == 1)).all()
    assert split.attribute_cardinalities == (2,) and np.array_equal(
        split.asked(as_int64([0, 5]))[:, 0], batch["label"][[0, 5]]
    )
