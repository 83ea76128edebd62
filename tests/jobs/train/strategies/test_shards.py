"""Tensors in pieces: whoever wrote them, any part of them is read as it was."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_jobs.train.staging import Staging
from forgeline_jobs.train.strategies import shards
from forgeline_jobs.train.strategies.shards import WEIGHT, Piece, Shards, are_in

SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


def pieces_of(tensor: torch.Tensor, cuts: list[int], *, kind: str = WEIGHT) -> list[Piece]:
    """A tensor, flattened and cut at these places."""
    flat = tensor.reshape(-1)
    ends = [*cuts, len(flat)]
    return [
        Piece(kind=kind, name="model.w", shape=tuple(tensor.shape), start=start, values=flat[start:end])
        for start, end in zip([0, *cuts], ends, strict=True)
    ]


def write(folder: Path, pieces: list[Piece], *, rank: int, world: int) -> None:
    """As a worker does it."""
    shards.write(Staging(apart=True).copy(shards.content(pieces)), folder / shards.file_name(rank, world))


@settings(deadline=None)
@given(shape=SHAPES, data=st.data())
def test_what_some_workers_wrote_any_other_number_of_them_reads(shape: tuple[int, ...], data: st.DataObject) -> None:
    numbers = math.prod(shape)
    cuts = st.lists(st.integers(0, numbers), max_size=3).map(sorted)
    tensor = torch.randn(shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = pieces_of(tensor, data.draw(cuts))
        for rank, piece in enumerate(written):
            write(folder, [piece], rank=rank, world=len(written))
        stored = Shards(folder)
        assert torch.equal(stored.whole("weight/model.w"), tensor)
        read = torch.zeros(shape)
        for piece in pieces_of(read, data.draw(cuts)):
            stored.fill(piece)
        assert torch.equal(read, tensor)


def test_states_of_the_optimizer_lie_beside_the_weights(tmp_path: Path) -> None:
    weight, moment = torch.randn(2, 3), torch.randn(2, 3)
    held = [*pieces_of(weight, []), *pieces_of(moment, [], kind="exp_avg")]
    write(tmp_path, held, rank=0, world=1)
    stored = Shards(tmp_path)
    assert list(stored.kinds("model.w")) == ["exp_avg"]
    assert torch.equal(stored.weights()["model.w"], weight)
    assert torch.equal(stored.whole("exp_avg/model.w"), moment)


def test_half_precision_stays_as_it_is(tmp_path: Path) -> None:
    weight = torch.randn(3).bfloat16()
    write(tmp_path, pieces_of(weight, []), rank=0, world=1)
    assert torch.equal(Shards(tmp_path).weights()["model.w"], weight)


def test_what_was_not_written_is_missed(tmp_path: Path) -> None:
    assert not are_in(tmp_path)
    first, second = pieces_of(torch.randn(4), [2])
    write(tmp_path, [second], rank=1, world=2)
    assert are_in(tmp_path)
    with pytest.raises(ValueError, match="2 of the 4 numbers of weight/model.w"):
        Shards(tmp_path).whole("weight/model.w")
    with pytest.raises(ValueError, match="shape"):
        Shards(tmp_path).fill(Piece(kind=WEIGHT, name="model.w", shape=(2, 2), start=0, values=first.values))
