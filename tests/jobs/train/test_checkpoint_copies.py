"""Copies of checkpoints elsewhere: whole or not there, kept as the originals are, brought back when these are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forgeline.errors import SpecError
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies
from tests.jobs.train.test_checkpoint import sealed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for step in (5, 10, 15):
        sealed(tmp_path / "checkpoints", step, b"state %d" % step)
    return tmp_path / "checkpoints"


@pytest.fixture(params=["folder", "URL"])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointCopies:
    place = tmp_path / "safe" / "here"
    return CheckpointCopies(str(place) if request.param == "folder" else place.as_uri(), "run-1")


def test_copies_are_kept_as_the_originals_are(copies: CheckpointCopies, root: Path) -> None:
    assert copies.steps() == []
    copies.update(root, {5, 10})
    assert copies.steps() == [5, 10]
    copies.update(root, {10, 15})
    assert copies.steps() == [10, 15]


def test_a_newer_copy_is_brought_back(copies: CheckpointCopies, root: Path) -> None:
    copies.update(root, {5, 10, 15})
    shutil.rmtree(root / checkpoint.folder_name(15))
    told: list[str] = []
    found = copies.newest(root, unless=root / checkpoint.folder_name(10), warn=told.append)
    assert found == root / checkpoint.folder_name(15)
    assert (found / checkpoint.STATE).read_bytes() == b"state 15"
    assert "brought back" in told[0]
    assert copies.newest(root, unless=found, warn=told.append) == found
    assert not list(root.glob(".*"))


def test_a_damaged_copy_is_told_and_the_one_before_it_taken(
    copies: CheckpointCopies, root: Path, tmp_path: Path
) -> None:
    copies.update(root, {5, 10, 15})
    shutil.rmtree(root)
    place = tmp_path / "safe" / "here" / "run-1"
    (place / checkpoint.folder_name(15) / checkpoint.STATE).write_bytes(b"stat")
    (place / checkpoint.folder_name(10) / checkpoint.MANIFEST).unlink()  # its copy was never finished
    told: list[str] = []
    assert copies.newest(root, unless=None, warn=told.append) == root / checkpoint.folder_name(5)
    assert "step-0000000015 is damaged" in told[0]


def test_a_place_that_can_be_written_is_left_as_it_was(copies: CheckpointCopies, tmp_path: Path) -> None:
    copies.check()
    assert not (tmp_path / "safe" / "here").exists()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("/proc/nothing/here", "cannot be written to"),
        ("s4://bucket/folder", "s4"),
        ("ftp-over-pigeon://x/y", "Protocol not known"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(place: str, told: str) -> None:
    with pytest.raises(SpecError, match=told) as raised:
        CheckpointCopies(place, "run-1").check()
    assert raised.value.key == "checkpoint.copy_to"
