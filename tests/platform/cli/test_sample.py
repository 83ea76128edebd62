"""`forgeline sample`: files that it writes, and what it refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from forgeline.cli import sample
from forgeline.cli.app import app
from forgeline.errors import UsageError
from forgeline.preprocessing import ImagePreprocessing


class Shades:
    """In the place of a bundle: keeps what it was asked, and makes pictures or points of noise."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.asked: dict[str, Any] = {}
        self.preprocessing: Any = None

    def sample(self, count: int, condition: Any, **settings: Any) -> Any:
        self.asked = {"condition": condition, **settings}
        noise = np.random.default_rng(settings["seed"]).integers(0, 256, (count, *self.shape))
        return noise.astype(np.uint8) if len(self.shape) == 3 else noise / 255


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Shades:
    shades = Shades((4, 4, 1))
    monkeypatch.setattr(sample, "load_model", lambda model: shades)
    return shades


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["sample", *map(str, arguments)], standalone_mode=False)


def test_a_grid_and_arrays_hold_the_same_samples(pictures: Shades, tmp_path: Path) -> None:
    done = run("model", "--output", tmp_path / "x.png", "--count", 5, "--seed", 3)
    assert done.exit_code == 0, done.exception
    run("model", "-o", tmp_path / "x.npz", "--count", 5, "--seed", 3)
    whole, samples = np.asarray(Image.open(tmp_path / "x.png")), np.load(tmp_path / "x.npz")["samples"]
    assert whole.shape == (14, 20) and samples.shape == (5, 4, 4, 1)
    assert np.array_equal(whole[2:6, 8:12], samples[1, ..., 0]) and np.array_equal(whole[8:12, 2:6], samples[3, ..., 0])


def test_labels_go_round_and_options_have_types(pictures: Shades, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    run("m", "-o", out, "--count", 3, "--label", "3", "--label", "7", "--option", "steps=20", "--option", "way=ddim")
    assert pictures.asked["condition"] == {"label": ["3", "7", "3"]}
    assert pictures.asked["steps"] == 20 and pictures.asked["way"] == "ddim"
    run("m", "-o", out, "--overwrite", "--caption", "a red circle")
    assert pictures.asked["condition"] == {"caption": "a red circle"}


def test_sources_are_translated_each_once_or_in_turn(pictures: Shades, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "x.npz"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (4, 4)).save(folder / name)
    pictures.preprocessing = ImagePreprocessing.symmetric(4, 4, 1, target=None)
    run("m", "-o", out, "--source", folder, "--label", "night")
    paths = [folder / name for name in ("a.png", "b.png", "c.png")]
    assert pictures.asked["condition"] == {"source": paths, "label": ["night"] * 3}
    assert len(np.load(out)["samples"]) == 3
    run("m", "-o", out, "--overwrite", "--source", folder, "--count", 4)
    assert pictures.asked["condition"] == {"source": [*paths, paths[0]]}


def test_a_picture_to_begin_with_is_handed_on(pictures: Shades, tmp_path: Path) -> None:
    run("m", "-o", tmp_path / "x.npz", "--image", tmp_path / "circle.png", "--option", "strength=0.5")
    assert pictures.asked["image"] == tmp_path / "circle.png" and pictures.asked["strength"] == 0.5


def test_points_are_no_picture(pictures: Shades, tmp_path: Path) -> None:
    pictures.shape = (2,)
    done = run("model", "--output", tmp_path / "x.png")
    assert isinstance(done.exception, UsageError) and "makes points" in str(done.exception)
    run("model", "--output", tmp_path / "x.npz")
    assert np.load(tmp_path / "x.npz")["samples"].shape == (16, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.gif"], "ends in none of .png, .npz"),
        (["-o", "nosuchdir/x.png"], "the folder 'nosuchdir' does not exist"),
        (["-o", "x.png", "--option", "steps"], "write NAME=VALUE"),
        (["-o", "x.png", "--option", "seed=3"], "write NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments: list[str], said: str) -> None:
    done = run("no-such-model", *arguments)
    assert isinstance(done.exception, UsageError) and said in str(done.exception)
