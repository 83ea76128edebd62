"""The specs that come with the kinds, and the paths in a user's own, through the resolved YAML and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeline.errors import SpecError
from forgeline.spec.loading import load

SPECS = sorted((Path(__file__).resolve().parents[3] / "jobs" / "specs").rglob("*.yaml"))
TRAIN = (
    "kind: train\nname: x\narchitecture: {ARCHITECTURE}\ndata: {name: images, path: pictures}\ntrainer: {epochs: 1}\n"
)


@pytest.fixture(autouse=True)
def toy_plugins() -> None:
    """In place of the toys: the installed plug-ins are wanted here."""


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_shipped_spec_loads_again_from_its_resolved_text(path: Path) -> None:
    loaded = load(path)
    again = load(loaded.text)
    assert (again.spec, again.text) == (loaded.spec, loaded.text)


def test_paths_are_absolute_in_the_resolved_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").touch()
    text = load(TRAIN.replace("ARCHITECTURE", "name: resnet18, pretrained: weights.pth")).text
    assert f"path: {tmp_path}/pictures" in text and f"pretrained: {tmp_path}/weights.pth" in text
    monkeypatch.chdir("/")
    assert load(text).text == text


@pytest.mark.parametrize("name", ["resnet18", "gpt"])
@pytest.mark.parametrize("file", ["no.safetensors", "no/such"])
def test_missing_weights_are_refused(name: str, file: str) -> None:
    with pytest.raises(SpecError, match=f"there is no file( or folder)? '{file}'") as caught:
        load(TRAIN.replace("ARCHITECTURE", f"name: {name}, pretrained: {file}"))
    assert caught.value.key == "architecture.pretrained" and caught.value.exit_code == 2
