"""Copies of checkpoints elsewhere: whole or not there, kept as the originals are, brought back when these are gone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pytest

from forgeline.errors import SpecError
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies, CopyThread
from forgeline_jobs.train.retention import Retention
from tests.jobs.train.test_checkpoint import sealed


def only(*steps: int) -> Callable[[Collection[int]], set[int]]:
    """Keeps these."""
    return lambda there: {*steps} & {*there}


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
    copies.update(root, only(5, 10))
    assert copies.steps() == [5, 10]
    copies.update(root, only(10, 15))
    assert copies.steps() == [10, 15]


def test_a_newer_copy_is_brought_back(copies: CheckpointCopies, root: Path) -> None:
    copies.update(root, only(5, 10, 15))
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
    copies.update(root, only(5, 10, 15))
    shutil.rmtree(root)
    place = tmp_path / "safe" / "here" / "run-1"
    (place / checkpoint.folder_name(15) / checkpoint.STATE).write_bytes(b"stat")
    (place / checkpoint.folder_name(10) / checkpoint.MANIFEST).unlink()  # its copy was never finished
    told: list[str] = []
    assert copies.newest(root, unless=None, warn=told.append) == root / checkpoint.folder_name(5)
    assert "step-0000000015 is damaged" in told[0]
    assert copies.steps() == [5], "a damaged copy would stand for the one to come"


def test_what_is_kept_is_kept_there_when_it_is_here_no_more(copies: CheckpointCopies, root: Path) -> None:
    retention = Retention(last=1, every=10)
    copies.update(root, partial(retention.kept, best=[5]))
    shutil.rmtree(root)
    sealed(root, 17, b"state 17")
    copies.update(root, partial(retention.kept, best=[5]))
    assert copies.steps() == [5, 10, 17]


def test_a_copy_that_was_never_finished_is_taken_away(copies: CheckpointCopies, root: Path, tmp_path: Path) -> None:
    copies.update(root, only(5))
    begun = tmp_path / "safe" / "here" / "run-1" / checkpoint.folder_name(7)
    begun.mkdir()
    copies.update(root, only(5))
    assert not begun.exists()


def test_a_place_that_is_away_costs_a_warning(root: Path) -> None:
    copies, told = CheckpointCopies("s4://bucket/folder", "run-1"), []
    at_hand = root / checkpoint.folder_name(15)
    assert copies.newest(root, unless=at_hand, warn=told.append) == at_hand
    assert "cannot be read" in told[0]
    thread = CopyThread(copies, root, told.append)
    thread.update(only(5))
    thread.finish(within_s=20)
    assert "will be with the next one" in told[1]
    assert not thread.fetch(15)
    assert "step-0000000015 cannot be read" in told[2]


def test_a_slow_place_holds_up_nothing(root: Path, tmp_path: Path) -> None:
    may_go_on, told = threading.Event(), []

    class Slow(CheckpointCopies):
        def steps(self) -> list[int]:
            assert may_go_on.wait(20)
            return super().steps()

    copies = Slow(str(tmp_path / "slow"), "run-1")
    thread = CopyThread(copies, root, told.append)
    thread.update(only(5))
    thread.update(only(10))
    thread.update(only(10, 15))
    thread.finish(within_s=0.05)
    assert "was not copied" in told[0]
    may_go_on.set()
    thread.finish(within_s=20)
    assert copies.steps() == [10, 15] and len(told) == 1


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
