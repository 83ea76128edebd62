"""Checkpoints that are written while training goes on: what they hold, who seals them, and what a failure does."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline_jobs.train.checkpoint_writer import CheckpointFailed, CheckpointWriter


def save(content: Mapping[str, Any], file: Path) -> None:
    torch.save(content, file)


def test_what_is_written_is_what_was_there_when_it_was_taken(tmp_path: Path) -> None:
    weight, may_write = torch.ones(3), threading.Event()

    def save_later(content: Mapping[str, Any], file: Path) -> None:
        assert may_write.wait(10)
        save(content, file)

    sealed: list[Mapping[str, str]] = []
    with CheckpointWriter(rank=0, writers=1) as writer:
        writer.take("state.pt", {"weight": weight, "nested": [{"moment": weight}, 3]}, save_later)
        writer.start(tmp_path, sealed.append)
        weight.zero_()  # training goes on
        may_write.set()
    assert [list(digests) for digests in sealed] == [["state.pt"]]
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(state["weight"], torch.ones(3)) and state["nested"][1] == 3
    assert state["nested"][0]["moment"].data_ptr() == state["weight"].data_ptr(), "shared memory was written twice"


def test_the_next_one_waits_and_does_not_touch_what_is_being_written(tmp_path: Path) -> None:
    weight = torch.zeros(4)
    with CheckpointWriter(rank=0, writers=1) as writer:
        for step in range(20):
            weight.fill_(step)
            writer.take(f"{step}.pt", {"weight": weight}, save)
            writer.start(tmp_path, lambda digests: None)
    for step in range(20):
        assert torch.load(tmp_path / f"{step}.pt", weights_only=True)["weight"].tolist() == [step] * 4


def test_rank_0_seals_when_every_worker_has_written(tmp_path: Path) -> None:
    sealed: list[Mapping[str, str]] = []
    with CheckpointWriter(rank=0, writers=2) as first, CheckpointWriter(rank=1, writers=2) as second:
        first.take("0.pt", {"a": torch.ones(1)}, save)
        first.start(tmp_path, sealed.append)
        second.take("1.pt", {"a": torch.ones(2)}, save)
        assert not sealed
        second.start(tmp_path)
        first.wait()
    assert [sorted(digests) for digests in sealed] == [["0.pt", "1.pt"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.pt", "1.pt"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_full_disk_is_told_as_soon_as_it_is_known(asynchronous: bool) -> None:
    full = Path("/dev/full")

    def fill(content: Mapping[str, Any], file: Path) -> None:
        with full.open("wb", buffering=0) as stream:
            stream.write(b"state")

    writer = CheckpointWriter(rank=0, writers=1, asynchronous=asynchronous)
    writer.take("state.pt", {}, fill)
    with pytest.raises(CheckpointFailed, match="No space left on device"):
        writer.start(Path("/nowhere"), lambda digests: None)
        for _ in range(1000):  # steps
            time.sleep(0.01)
            writer.check()


def test_a_failed_training_is_what_is_told(tmp_path: Path) -> None:
    def fail(content: Mapping[str, Any], file: Path) -> None:
        raise OSError("no space")

    with pytest.raises(ValueError, match="bad labels"), CheckpointWriter(rank=0, writers=1) as writer:
        writer.take("state.pt", {}, fail)
        writer.start(tmp_path)
        raise ValueError("bad labels")
