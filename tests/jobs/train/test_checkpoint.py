"""Checkpoints on disk: sealed, verified, and passed over when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import SpecError
from forgeline_jobs.train import checkpoint


def sealed(root: Path, step: int, content: bytes = b"state") -> Path:
    temporary = root / f".{step}.tmp"
    temporary.mkdir(parents=True)
    (temporary / checkpoint.STATE).write_bytes(content)
    folder = root / checkpoint.folder_name(step)
    manifest = checkpoint.Manifest(
        run_id="r",
        step=step,
        epoch=1,
        batch=2,
        metrics={"val/loss": 0.5},
        digests=checkpoint.synced(temporary, [checkpoint.STATE]),
        architecture={"name": "mlp"},
        fingerprint="f",
    )
    checkpoint.seal(temporary, folder, manifest)
    return folder


def test_a_sealed_checkpoint_is_verified(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 7)
    manifest = checkpoint.verified(folder)
    assert manifest is not None
    assert (manifest.step, manifest.epoch, manifest.batch) == (7, 1, 2)
    assert not list(tmp_path.glob(".*"))


def test_an_intact_one_of_the_same_step_stays(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 7)
    inode = folder.stat().st_ino
    assert sealed(tmp_path, 7).stat().st_ino == inode, "there was a moment without a checkpoint"
    (folder / checkpoint.STATE).write_bytes(b"damaged")
    assert checkpoint.verified(sealed(tmp_path, 7)) is not None
    assert not list(tmp_path.glob(".*"))


def test_the_newest_intact_one_is_taken_and_damage_is_told(tmp_path: Path) -> None:
    older, newer = sealed(tmp_path, 9), sealed(tmp_path, 10)
    (newer / checkpoint.STATE).write_bytes(b"stat")
    told: list[str] = []
    assert checkpoint.newest(tmp_path, warn=told.append) == older
    assert "step-0000000010" in told[0]
    assert checkpoint.folders(tmp_path) == [older], "a damaged one counts among the newest to keep"


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 3)
    (folder / checkpoint.MANIFEST).unlink()
    assert checkpoint.verified(folder) is None
    assert checkpoint.newest(tmp_path / "nowhere", warn=print) is None


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 3)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    manifest["format"] = checkpoint.FORMAT + 1
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(SpecError, match=f"format {checkpoint.FORMAT + 1}"):
        checkpoint.newest(tmp_path, warn=print)


@given(st.lists(st.integers(0, 10**9), min_size=2, unique=True))
def test_folder_names_sort_by_step(steps: list[int]) -> None:
    assert sorted(map(checkpoint.folder_name, steps)) == [checkpoint.folder_name(step) for step in sorted(steps)]


@given(st.binary(min_size=1, max_size=64), st.data())
def test_any_altered_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    folder = sealed(tmp_path_factory.mktemp("checkpoint"), 1, content)
    place = data.draw(st.integers(0, len(content) - 1))
    altered = bytearray(content)
    altered[place] ^= data.draw(st.integers(1, 255))
    (folder / checkpoint.STATE).write_bytes(bytes(altered))
    assert checkpoint.verified(folder) is None
