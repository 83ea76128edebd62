"""Data for generators: pictures from -1 to 1, conditions, sizes, and what a judge is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from forgeline.errors import DataError
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import PreparedData, as_int64
from forgeline_jobs.data.builtin_points import centres
from forgeline_jobs.data.descriptor import DataSource
from forgeline_jobs.data.generation import squared


def prepared(source: DataSource, **settings: Any) -> PreparedData:
    return source.prepare(source.config_model().model_validate({"name": source.name, **settings}))


def judged(data: PreparedData, split: str = "test") -> Any:
    return data.splits[split]


class TestImages:
    def test_pixels_are_from_minus_one_to_one(self) -> None:
        data = prepared(sources.DIGITS, task="generation")
        batch = data.splits["train"].batch(as_int64(range(64)))
        assert set(batch) == {"image"} == set(data.signature.inputs)
        assert batch["image"].min() == -1.0 and batch["image"].max() == 1.0
        assert data.signature.outputs == (1, 8, 8) and data.signature.conditions == {}

    def test_samples_become_pixels_of_a_file(self) -> None:
        data = prepared(sources.DIGITS, task="generation")
        made = np.asarray([[[[-1.0, 1.0, 0.0, 1.7]]]], dtype=np.float32)
        assert data.preprocessing.decode_samples(made).tolist() == [[[[0], [255], [128], [255]]]]

    def test_a_label_is_a_condition_that_is_asked_for(self) -> None:
        data = prepared(sources.DIGITS, task="generation", condition="label")
        rows = as_int64(range(20))
        batch = data.splits["test"].batch(rows)
        assert data.signature.conditions == {"label": 10} and data.signature.learnt == "image"
        assert batch["label"].tolist() == judged(data).attributes(rows)[:, 0].tolist()
        assert data.preprocessing.encode_condition("label", ["3", 7]).tolist() == [3, 7]
        with pytest.raises(DataError, match="'11'"):
            data.preprocessing.encode_condition("label", [11])
        with pytest.raises(DataError, match="no condition 'caption'"):
            data.preprocessing.encode_condition("caption", ["a circle"])

    def test_attributes_are_known_without_a_condition(self) -> None:
        told, untold = (prepared(sources.DIGITS, task="generation", condition=c) for c in ("label", "none"))
        rows = as_int64(range(50))
        assert np.array_equal(judged(told).attributes(rows), judged(untold).attributes(rows))
        assert judged(untold).attribute_cardinalities == (10,) and untold.preprocessing.classes is None

    def test_size_adds_an_edge_or_resizes(self) -> None:
        ones = np.ones((2, 28, 28, 1), dtype=np.uint8)
        edged = squared(ones, 32)
        assert edged.shape == (2, 32, 32, 1) and edged.sum() == ones.sum() and edged[:, 2:30, 2:30].all()
        assert squared(ones, 16).shape == (2, 16, 16, 1) and squared(ones, 16).min() == 1.0
        assert prepared(sources.DIGITS, task="generation", size=16).signature.outputs == (1, 16, 16)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"condition": "label"}, "condition is for task generation; set task to generation"),
            ({"size": 16}, "size 16 is for task generation"),
            ({"task": "generation", "class_weights": "balanced"}, "class_weights are for task classification"),
            ({"task": "generation", "size": 2}, "greater than or equal to 4"),
        ],
    )
    def test_settings_of_another_task_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            sources.DIGITS.config_model().model_validate({"name": "digits", **settings})

    def test_own_images_need_no_classes_without_a_condition(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        for number in range(12):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{number:02}.png")
        data = prepared(sources.IMAGES, path=str(tmp_path), task="generation", size=6)
        assert data.signature.outputs == (3, 6, 6) and judged(data).attribute_cardinalities == ()
        assert judged(data).attributes(as_int64([0, 1])).shape == (2, 0)
        with pytest.raises(DataError, match="in no class folder"):
            prepared(sources.IMAGES, path=str(tmp_path), task="generation", condition="label")

    def test_own_arrays_need_no_labels_without_a_condition(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=np.zeros((12, 8, 8), dtype=np.uint8))
        path = str(tmp_path / "x.npz")
        assert prepared(sources.IMAGES, path=path, task="generation").signature.outputs == (1, 8, 8)
        with pytest.raises(DataError, match="wanted the arrays `images` and `labels`"):
            prepared(sources.IMAGES, path=path, task="generation", condition="label")


class TestGaussians:
    def test_points_lie_around_their_centre(self) -> None:
        data = prepared(sources.GAUSSIANS25, condition="label")
        rows = as_int64(range(len(data.splits["test"])))
        batch = data.splits["test"].batch(rows)
        off = data.preprocessing.decode_samples(batch["numeric"]) - centres()[batch["label"]]
        assert np.bincount(batch["label"]).tolist() == [400] * 25
        assert off.std() == pytest.approx(0.05, rel=0.02) and np.abs(off).max() < 0.3

    def test_coordinates_are_standardised(self) -> None:
        points = prepared(sources.GAUSSIANS25).splits["train"].batch(as_int64(range(25_000)))["numeric"]
        assert points.mean(axis=0) == pytest.approx([0, 0], abs=1e-3)
        assert points.std(axis=0) == pytest.approx([1, 1], abs=1e-3)
