"""Bundles from strangers: every way of being wrong has its own clear error, and nothing outside the folder is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgeline.bundle import Bundle
from forgeline.bundle import manifest as manifests
from forgeline.errors import BundleError, BundleTampered, NotFound, SpecError

Edit = Callable[[Callable[[dict[str, Any]], Any]], Path]


@pytest.fixture
def folder(table_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(table_bundle.folder, tmp_path / "copy"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Change the copy's bundle.json."""

    def change(how: Callable[[dict[str, Any]], Any]) -> Path:
        path = folder / "bundle.json"
        content = json.loads(path.read_text())
        how(content)
        path.write_text(json.dumps(content))
        return folder

    return change


def test_a_sealed_bundle_loads(folder: Path, table_bundle: Bundle) -> None:
    assert Bundle.load(folder).manifest == table_bundle.manifest
    assert set(table_bundle.manifest.digests) == {"weights.safetensors", "reference.json"}


@pytest.mark.parametrize("name", ["weights.safetensors", "reference.json"])
def test_an_altered_byte_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleTampered, match=f"{name} is not the file that was sealed") as caught:
        Bundle.load(folder)
    assert caught.value.exit_code == 1


def test_weights_exchanged_after_loading_are_found(folder: Path) -> None:
    bundle = Bundle.load(folder)
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(BundleTampered):
        _ = bundle.model


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors, which bundle\.json lists, cannot be read"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "link/secret", "nul\x00byte"])
def test_a_file_outside_the_folder_is_refused(folder: Path, edit: Edit, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    (folder / "link").symlink_to(folder.parent)
    edit(lambda content: content["digests"].update({name: "0" * 64}))
    with pytest.raises(SpecError) as caught:
        Bundle.load(folder)
    assert caught.value.exit_code == 2
    assert caught.value.key == f"digests[{name!r}]"
    assert caught.value.source is not None and caught.value.source.endswith("bundle.json")


def test_weights_behind_a_link_are_refused(folder: Path) -> None:
    (folder / "weights.safetensors").rename(folder.parent / "elsewhere")
    (folder / "weights.safetensors").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(SpecError, match="leaves the folder"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, r"has format 2; this Forgeline reads up to 1: upgrade forgeline"),
        ({"format": "1"}, "has format '1'; allowed: 1"),
        ({"format": True}, "has format True; allowed: 1"),
        ({"format": None}, "has format None"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"task": "divination"}, "task: Input should be"),
        ({"digests": {}}, r"seals no weights\.safetensors; it lists no file"),
        ({"metrics": {"accuracy": "high"}}, r"metrics\.accuracy"),
    ],
)
def test_a_wrong_manifest_is_refused(edit: Edit, change: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Bundle.load(edit(lambda content: content.update(change)))


def test_a_wrong_preprocessing_is_refused(edit: Edit) -> None:
    bundle = Bundle.load(edit(lambda content: content["preprocessing"].update(kind="magic")))
    with pytest.raises(BundleError, match=r"bundle\.json: preprocessing"):
        _ = bundle.preprocessing


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "holds a list, wanted an object"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b"", "is not JSON"),
    ],
)
def test_what_is_not_a_manifest_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=words):
        Bundle.load(folder)


def test_a_huge_manifest_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "bundle.json").open("wb") as stream:
        stream.truncate(manifests.LARGEST_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(BundleError, match="a manifest has at most 67,108,864"):
        Bundle.load(folder)


def test_places_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(NotFound, match=r"holds no bundle\.json"):
        Bundle.load(tmp_path)


def test_a_bundle_is_found_inside_the_folder_of_a_run_or_a_model(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "run" / "bundle")
    shutil.copytree(folder, folder.parent / "model" / "data" / "bundle")
    for name in ("run", "model"):
        assert Bundle.load(folder.parent / name).digest == Bundle.load(folder).digest
