"""Data for autoencoders: which classes are shown, noise that is a sample's own, and what is refused."""

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
from forgeline_jobs.data.descriptor import DataSource
from forgeline_jobs.data.reconstruction import undisturbed

ROWS = as_int64(range(20))


def prepared(source: DataSource = sources.DIGITS, **settings: Any) -> PreparedData:
    config = {"name": source.name, "task": "reconstruction", **settings}
    return source.prepare(source.config_model().model_validate(config))


def whole(data: PreparedData, split: str) -> dict[str, Any]:
    return data.splits[split].batch(as_int64(range(len(data.splits[split]))))


def test_pictures_are_to_be_given_back() -> None:
    data = prepared()
    batch = data.splits["train"].batch(ROWS)
    assert set(batch) == {"image", "target"} and batch["image"].min() == -1 and batch["image"].max() == 1
    assert data.signature.outputs == (1, 8, 8) and not whole(data, "test")["target"].any()


def test_other_classes_are_in_test_alone_and_are_its_anomalies() -> None:
    every, data = prepared(), prepared(normal=[3, "5"])
    assert not whole(data, "train")["target"].any() and not whole(data, "val")["target"].any()
    labels = whole(sources.DIGITS.prepare(sources.DIGITS.config_model()(name="digits")), "test")["target"]
    assert np.array_equal(whole(data, "test")["target"], (labels != 3) & (labels != 5))
    assert np.array_equal(whole(data, "test")["image"], whole(every, "test")["image"])
    assert 0.15 < len(data.splits["train"]) / len(every.splits["train"]) < 0.25
    assert data.summary["normal"] == ["3", "5"]
    assert len(prepared(normal=[3], labels=10).splits["train"]) == 10


def test_noise_is_of_its_size_and_clipped() -> None:
    clean, noisy = whole(prepared(), "train"), whole(prepared(noise=0.1), "train")
    assert np.array_equal(noisy["clean"], clean["image"])
    assert noisy["image"].min() >= -1 and noisy["image"].max() <= 1
    inside = np.abs(clean["image"]) < 0.25  # far from where it is clipped
    added = (noisy["image"] - clean["image"])[inside] / 2
    assert added.std() == pytest.approx(0.1, rel=0.05) and added.mean() == pytest.approx(0, abs=0.005)


def test_noise_belongs_to_the_sample_and_in_training_to_the_epoch() -> None:
    split = prepared(noise=0.3).splits["train"]
    some = as_int64([5, 9])
    assert np.array_equal(split.batch(ROWS)["image"][some], split.batch(some)["image"])
    assert np.array_equal(split.batch(some, (0, 1))["image"], split.batch(some, (0, 1))["image"])
    assert not np.array_equal(split.batch(some, (0, 1))["image"], split.batch(some, (0, 2))["image"])


def test_without_its_noise_it_is_what_predict_gets() -> None:
    batch = undisturbed(prepared(noise=0.3)).splits["val"].batch(ROWS)
    assert "clean" not in batch and np.array_equal(batch["image"], prepared().splits["val"].batch(ROWS)["image"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "classification", "normal": [3]}, "normal is for task reconstruction"),
        ({"task": "generation", "noise": 0.5}, "noise is for task reconstruction"),
        ({"task": "classification", "quantile": 0.9}, "remove quantile 0.9"),
        ({"condition": "label"}, "condition is for task generation"),
        ({"class_weights": "balanced"}, "class_weights are for task classification"),
        ({"quantile": 1.0}, "less than 1"),
        ({"normal": []}, "at least 1 item"),
    ],
)
def test_settings_of_another_task_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        prepared(**settings)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(DataError, match="no class is called '11'") as caught:
        prepared(normal=[11])
    assert caught.value.key == "data.normal"


def test_own_images_need_classes_only_where_some_are_normal(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{number:02}.png")
    assert prepared(sources.IMAGES, path=str(tmp_path), noise=0.1).signature.outputs == (1, 8, 8)
    with pytest.raises(DataError, match="in no class folder"):
        prepared(sources.IMAGES, path=str(tmp_path), normal=["cat"])
    for kind in ("cat", "dog"):
        (tmp_path / "sorted" / kind).mkdir(parents=True)
        for path in sorted(tmp_path.glob("*.png")):
            (tmp_path / "sorted" / kind / path.name).write_bytes(path.read_bytes())
    data = prepared(sources.IMAGES, path=str(tmp_path / "sorted"), normal=["cat"])
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sizes == {"train": 9, "val": 1, "test": 4} and whole(data, "test")["target"].tolist() == [0, 0, 1, 1]
