"""Samples of a bundle: conditions, pieces of one stream, units, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.errors import DataError, UsageError
from forgeline.preprocessing import ClassTarget, ImagePreprocessing, TablePreprocessing
from forgeline.preprocessing.tabular import NumericColumn

IMAGE = {"image": {"shape": [1, 2, 2], "dtype": "float32"}}
LABEL = {"label": {"shape": [], "dtype": "int64"}}


class Flat(nn.Module):
    """Noise around the label's own grey, or around 0; a source as it is (label 0) or its negative (1)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.noise = nn.Parameter(torch.tensor(0.1))

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        if set(options) - {"noise"}:
            raise ValueError(f"unknown option {sorted(options)}; allowed: noise")
        if "source" in condition:
            mirrored: Tensor = condition["source"] * (1 - 2 * condition["label"].view(-1, 1, 1, 1))
            return mirrored
        made = torch.randn(count, *self.shape, generator=generator) * options.get("noise", self.noise)
        return made + condition["label"].view(-1, 1, 1, 1) - 1 if condition else made


class Changing(Flat):
    """Also changes pictures: by as much as it is told."""

    def vary(
        self, image: Tensor, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        return image + options["by"]


class Family:
    """A plug-in of the model above."""

    name, help = "flat", "Flat pictures."

    def model_names(self) -> list[str]:
        return ["flat"]

    def build_model(self, config: Mapping[str, Any], signature: Mapping[str, Any]) -> nn.Module:
        return Flat(tuple(signature["outputs"]))


@pytest.fixture(autouse=True)
def _family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name, key: Family())


def saved(folder: Path, signature: Mapping[str, Any], preprocessing: Any) -> Bundle:
    return Bundle.save(
        folder,
        model_state=Flat(tuple(signature["outputs"])).state_dict(),
        architecture={"name": "flat"},
        signature=signature,
        preprocessing=preprocessing,
    )


@pytest.fixture
def labelled(tmp_path: Path) -> Bundle:
    signature = {
        "task": "generation", "inputs": IMAGE | LABEL, "outputs": [1, 2, 2], "conditions": {"label": 3},
    }  # fmt: skip
    target = ClassTarget.fit("shade", ["black", "grey", "white"])
    return saved(tmp_path / "bundle", signature, ImagePreprocessing.symmetric(2, 2, 1, target=target))


def test_a_label_is_one_for_all_or_one_for_each_or_in_turn(labelled: Bundle) -> None:
    shades = {"black": 0, "grey": 128, "white": 255}
    for condition, names in (
        ({"label": "white"}, ["white"] * 4),
        ({"label": ["grey", "black", "black", "white"]}, ["grey", "black", "black", "white"]),
        (None, ["black", "grey", "white", "black"]),
    ):
        made = labelled.sample(4, condition, noise=0.0)
        assert made.dtype == np.uint8 and made.shape == (4, 2, 2, 1)
        assert made[:, 0, 0, 0].tolist() == [shades[name] for name in names]


def test_the_same_seed_gives_the_same_samples_and_no_two_pieces_are_alike(labelled: Bundle) -> None:
    first, second, other = (labelled.sample(6, {"label": "grey"}, seed=s, batch_size=3) for s in (0, 0, 1))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert not np.array_equal(first[:3], first[3:])


def test_a_generator_gives_no_embeddings(labelled: Bundle) -> None:
    with pytest.raises(UsageError, match="a flat gives no embeddings: its network has no method `penultimate`"):
        labelled.embed(np.zeros((1, 2, 2), dtype=np.uint8))


@pytest.fixture
def translating(tmp_path: Path) -> Bundle:
    signature = {
        "task": "generation", "inputs": IMAGE | {"source": IMAGE["image"]} | LABEL, "outputs": [1, 2, 2],
        "conditions": {"label": 2}, "source": "source",
    }  # fmt: skip
    target = ClassTarget.fit("side", ["film", "print"])
    return saved(tmp_path / "bundle", signature, ImagePreprocessing.symmetric(2, 2, 1, target=target))


def test_a_source_is_a_path_a_picture_or_an_array_for_all_or_one_for_each(translating: Bundle, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.arange(0, 240, 60, dtype=np.uint8).reshape(2, 2)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "x.png")
    path = tmp_path / "x.png"
    for source in (
        *(image, path, str(path), pixels, pixels[..., None]),
        *([image, image], [pixels, pixels], np.stack([pixels, pixels])),
    ):
        made = translating.sample(2, {"label": ["film", "print"], "source": source})
        assert np.array_equal(made[..., 0], [pixels, 255 - pixels])
    assert np.array_equal(translating.sample(2, {"source": image})[..., 0], [pixels, 255 - pixels]), "labels in turn"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, UsageError, "makes samples by source; give one"),
        (np.zeros((3, 2, 2), dtype=np.uint8), UsageError, "source has 3 values for 2 samples"),
        (np.zeros((2, 4, 4), dtype=np.uint8), DataError, "4x4.*the model takes 2x2"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    translating: Bundle, source: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translating.sample(2, {"source": source})


def test_mlflow_translates_the_picture_of_each_row(translating: Bundle, tmp_path: Path) -> None:
    import pandas as pd
    from mlflow import pyfunc
    from PIL import Image

    from forgeline.bundle.mlflow_model import save_mlflow_model

    save_mlflow_model(translating.folder, tmp_path / "model")
    path = str(tmp_path / "x.png")
    Image.new("L", (2, 2), 51).save(path)
    rows = pd.DataFrame({"label": ["print", "film"], "source": [path, path]})
    made = pyfunc.load_model(str(tmp_path / "model")).predict(rows)
    assert made[:, 0, 0, 0].tolist() == [204, 51]


def test_points_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    signature = {"task": "generation", "inputs": {"numeric": {"shape": [2], "dtype": "float32"}}, "outputs": [2]}
    axes = tuple(NumericColumn(name=name, fill=0.0, mean=5.0, std=2.0) for name in ("x", "y"))
    made = saved(tmp_path / "bundle", signature, TablePreprocessing(numeric=axes)).sample(500, noise=1.0)
    assert made.dtype == np.float64
    assert made.mean() == pytest.approx(5.0, abs=0.2) and made.std() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("count", "condition", "options", "error", "message"),
    [
        (0, None, {}, UsageError, "count is 0"),
        (2, {"label": ["grey"]}, {}, UsageError, "label has 1 values for 2 samples"),
        (2, {"label": "gray"}, {}, DataError, "'gray'.*grey"),
        (2, {"caption": "a circle"}, {}, UsageError, "takes no condition 'caption'"),
        (2, None, {"steps": 3}, UsageError, "allowed: noise"),
        (2, None, {"batch_size": 0}, UsageError, "batch_size is 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    labelled: Bundle, count: int, condition: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        labelled.sample(count, condition, **options)


def test_a_picture_to_begin_with_is_one_for_all_or_one_for_each(
    labelled: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    shades = np.asarray([0, 100, 200], dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    Image.fromarray(shades[1]).save(tmp_path / "grey.png")
    with pytest.raises(UsageError, match="Flat begins with noise, not with a picture"):
        labelled.sample(3, image=shades)
    monkeypatch.setattr(Family, "build_model", lambda self, config, signature: Changing(tuple(signature["outputs"])))
    bundle = Bundle.load(labelled.folder)
    each = bundle.sample(3, image=shades, by=0.2, batch_size=2)
    assert each.shape == (3, 2, 2, 1) and np.abs(each[:, 0, 0, 0] - [25.5, 125.5, 225.5]).max() < 1
    assert np.array_equal(bundle.sample(2, image=tmp_path / "grey.png", by=0.2), each[[1, 1]])
    with pytest.raises(UsageError, match="image has 3 pictures for 2 samples"):
        bundle.sample(2, image=shades, by=0.2)


@pytest.mark.parametrize("told", [True, False])
def test_mlflow_makes_a_sample_for_each_row(labelled: Bundle, tmp_path: Path, told: bool) -> None:
    import pandas as pd
    from mlflow import pyfunc

    from forgeline.bundle.mlflow_model import save_mlflow_model

    bundle = labelled
    if not told:
        signature = {"task": "generation", "inputs": IMAGE, "outputs": [1, 2, 2]}
        bundle = saved(tmp_path / "untold", signature, ImagePreprocessing.symmetric(2, 2, 1, target=None))
    save_mlflow_model(bundle.folder, tmp_path / "model")
    rows = pd.DataFrame({"label": ["white", "grey", "black"]} if told else {"sample": [0, 1, 2]})
    made = pyfunc.load_model(str(tmp_path / "model")).predict(rows, params={"seed": 3})
    asked = {"label": ["white", "grey", "black"]} if told else None
    assert made.dtype == np.uint8 and np.array_equal(made, bundle.sample(3, asked, seed=3))


def test_a_generator_answers_no_samples(labelled: Bundle) -> None:
    with pytest.raises(UsageError, match="a generator makes them"):
        labelled.predict(np.zeros((1, 2, 2), dtype=np.uint8))
