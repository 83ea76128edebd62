"""A user's images: folders and .npz files, and every way in which they can be wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forgeline.errors import DataError
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.sources import IMAGES

GENERATOR = np.random.default_rng(0)


def folder(root: Path, *, each: int = 6, size: tuple[int, int] = (8, 10), channels: int = 3) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = GENERATOR.integers(0, 256, (*size, 3) if channels == 3 else size).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def prepare(path: Path, *, verify: bool = True, **settings: Any) -> PreparedData:
    given = {"name": "images", "path": str(path), "batch_size": 4, **settings}
    return IMAGES.prepare(IMAGES.config_model().model_validate(given), verify=verify)


def refusal(path: Path, **settings: Any) -> tuple[str | None, str]:
    with pytest.raises(DataError) as caught:
        prepare(path, **settings)
    return caught.value.key, caught.value.message


def test_a_folder_per_class(tmp_path: Path) -> None:
    data = prepare(folder(tmp_path / "x"))
    assert data.signature.inputs["image"].shape == (3, 8, 10) and data.preprocessing.classes == ("cat", "dog")
    assert data.summary["classes"] == {"cat": 6, "dog": 6}
    batch = data.splits["train"].batch(np.arange(4))
    assert batch["image"].shape == (4, 3, 8, 10) and batch["image"].dtype == np.float32
    assert data.preprocessing.encode(data.input_example)["image"].shape == (2, 3, 8, 10)


def test_few_labels_are_all_that_is_learnt_from(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    whole, few = prepare(path), prepare(path, labels=2)
    assert [len(few.splits[name]) for name in SPLITS] == [2, len(whole.splits["val"]), len(whole.splits["test"])]
    assert sorted(few.splits["train"].batch(np.arange(2))["target"]) == [0, 1]
    assert few.summary["samples"]["train"] == 2 and few.fingerprint == whole.fingerprint
    key, message = refusal(path, labels=50)
    assert key == "data.labels" and "got 50" in message


def test_without_the_check_and_in_another_process_it_is_the_same(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    checked, unchecked = prepare(path), prepare(path, verify=False)
    assert checked.fingerprint == unchecked.fingerprint and checked.preprocessing == unchecked.preprocessing
    copied = pickle.loads(pickle.dumps(checked.splits["train"]))
    np.testing.assert_array_equal(*(s.batch(np.arange(5))["image"] for s in (copied, unchecked.splits["train"])))


def test_grey_is_told_from_the_file_and_can_be_asked_for(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", channels=1)
    assert prepare(path).signature.inputs["image"].shape == (1, 8, 10)
    assert prepare(path, channels=3, size=16).signature.inputs["image"].shape == (3, 16, 16)
    assert prepare(path, size=[4, 6]).preprocessing.resize  # type: ignore[union-attr]


def test_the_place_does_not_count_in_the_fingerprint(tmp_path: Path) -> None:
    first = folder(tmp_path / "x")
    fingerprint = prepare(first).fingerprint
    first.rename(tmp_path / "y")
    assert prepare(tmp_path / "y").fingerprint == fingerprint


def test_folders_that_name_the_split(tmp_path: Path) -> None:
    folder(tmp_path / "x" / "train", each=10)
    folder(tmp_path / "x" / "test", each=3)
    assert prepare(tmp_path / "x").summary["samples"] == {"train": 18, "val": 2, "test": 6}


def test_augmentation_is_of_train_only(tmp_path: Path) -> None:
    data = prepare(folder(tmp_path / "x"), augment={"shift": 2, "flip": True})
    for name, same in (("train", False), ("val", True)):
        indices = np.arange(len(data.splits[name]))
        first, second = (data.splits[name].batch(indices, keys)["image"] for keys in (None, (0, 0)))
        assert np.array_equal(first, second) == same


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.float32, 1.0), (np.float64, 255)])
def test_npz(tmp_path: Path, dtype: type, most: float) -> None:
    images = (GENERATOR.random((20, 6, 6)) * most).astype(dtype)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(20) % 2)
    data = prepare(tmp_path / "x.npz")
    assert data.preprocessing.pixel_max == most  # type: ignore[union-attr]
    assert data.preprocessing.decode(np.eye(2))["prediction"].tolist() == [0, 1]
    assert prepare(tmp_path / "x.npz", size=12, channels=3).signature.inputs["image"].shape == (3, 12, 12)


def test_bad_files_are_all_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    (path / "dog" / "3.png").write_bytes((path / "dog" / "3.png").read_bytes()[:80])
    key, message = refusal(path)
    assert key == "data.path" and "3.png` cannot be decoded" in message
    (path / "cat" / "1.png").write_bytes(b"not an image")
    assert "2 of 12 images are not usable" in refusal(path)[1]


def test_an_image_of_another_size(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(path / "dog" / "9.png")
    key, message = refusal(path)
    assert key == "data.size" and "9.png` is 9x9" in message and "is 8x10" in message
    assert prepare(path, size=8).summary["classes"]["dog"] == 7


def test_folder_refusals(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no")[0] == "data.path"
    (tmp_path / "x").mkdir()
    assert "has no class folders; wanted a folder per class" in refusal(tmp_path / "x")[1]
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "x" / "a.png")
    assert "images, but in no class folder" in refusal(tmp_path / "x")[1]
    folder(tmp_path / "y")
    (tmp_path / "y" / "empty").mkdir()
    assert "empty` holds no images" in refusal(tmp_path / "y")[1]
    folder(tmp_path / "z" / "one", each=1)
    assert "class 'cat' has 1 sample" in refusal(tmp_path / "z" / "one")[1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "has x; wanted the arrays `images` and `labels`"),
        ({"images": np.zeros((4, 2, 2)), "labels": np.zeros(3)}, "4 images and 3 labels"),
        ({"images": np.zeros((4, 2)), "labels": np.zeros(4)}, "allowed: numbers [n, h, w]"),
        ({"images": np.full((6, 2, 2), np.nan), "labels": np.arange(6) % 2}, "first: nan in sample 0 (the first is 0)"),
        ({"images": np.zeros((6, 2, 2)), "labels": np.zeros(6)}, "single class"),
    ],
)
def test_npz_refusals(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    assert message in refusal(tmp_path / "x.npz")[1]
