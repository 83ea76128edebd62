"""Loaders: the samples of a step are the same for any number of workers, and an epoch can be entered anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import DataError
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.augmentation import SeriesAugmentation, SeriesAugmenter
from forgeline_jobs.data.loader import EvalBatches, TrainBatches, eval_loader, train_loader

worlds = st.integers(1, 4)


def rank_batches(length: int, batch: int, world: int, seed: int, epoch: int, start: int = 0) -> list[list[np.ndarray]]:
    """[rank][batch] of sample numbers."""
    ranks = []
    for rank in range(world):
        sampler = TrainBatches(length, batch, rank=rank, world=world, seed=seed)
        sampler.start_at(epoch, start)
        ranks.append([indices for indices, _ in sampler])
    return ranks


@settings(max_examples=60)
@given(st.integers(12, 80), worlds, st.integers(1, 3), st.integers(0, 9), st.integers(0, 9))
def test_ranks_share_each_global_batch_whatever_their_number(
    length: int, world: int, each: int, seed: int, epoch: int
) -> None:
    batch = world * each
    ranks = rank_batches(length, batch, world, seed, epoch)
    alone = rank_batches(length, batch, 1, seed, epoch)[0]
    assert len(alone) == length // batch
    for number, whole in enumerate(alone):
        parts = np.concatenate([ranks[rank][number] for rank in range(world)])
        assert sorted(parts) == sorted(whole)
        assert {len(ranks[rank][number]) for rank in range(world)} == {each}
    seen = np.concatenate(alone)
    assert len(set(seen.tolist())) == len(seen)


@settings(max_examples=60)
@given(st.data(), st.integers(5, 60), worlds, st.integers(0, 5), st.integers(0, 5))
def test_entering_an_epoch_at_a_batch_gives_what_was_left(
    data: st.DataObject, length: int, world: int, seed: int, epoch: int
) -> None:
    batch = world
    start = data.draw(st.integers(0, length // batch))
    whole = rank_batches(length, batch, world, seed, epoch)
    rest = rank_batches(length, batch, world, seed, epoch, start)
    for rank in range(world):
        assert [b.tolist() for b in rest[rank]] == [b.tolist() for b in whole[rank][start:]]


def test_only_the_entered_epoch_is_cut_short() -> None:
    sampler = TrainBatches(20, 4, rank=0, world=1, seed=0)
    sampler.start_at(3, 2)
    assert (len(list(sampler)), len(sampler)) == (3, 5)
    assert sampler.epoch == 4
    assert len(list(sampler)) == 5


def test_epochs_differ_and_set_epoch_goes_back() -> None:
    sampler = TrainBatches(20, 4, rank=0, world=1, seed=0)
    first, second = ([b.tolist() for b, _ in sampler] for _ in range(2))
    assert first != second
    sampler.set_epoch(0)
    assert [b.tolist() for b, _ in sampler] == first
    assert sampler.global_batch(0, 1).tolist() == first[1]
    assert sampler.describe(0, 1) == f"train samples {', '.join(map(str, first[1]))}"


@given(st.integers(1, 50), st.integers(1, 10), worlds)
def test_evaluation_covers_each_sample_once(length: int, batch: int, world: int) -> None:
    ranks = [EvalBatches(length, batch, rank=rank, world=world) for rank in range(world)]
    seen = [int(i) for rank in ranks for indices, _ in rank for i in indices]
    assert sorted(seen) == list(range(length))
    assert all(len(list(rank)) == len(rank) for rank in ranks)


@given(st.integers(1, 50), st.integers(1, 10), worlds)
def test_even_evaluation_gives_each_rank_as_many_batches_and_says_which_count(
    length: int, batch: int, world: int
) -> None:
    ranks = [EvalBatches(length, batch, rank=rank, world=world, even=True) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    assert all(len(list(rank)) == len(rank) for rank in ranks)
    assert all(len(indices) for rank in ranks for indices, _ in rank)
    seen = [int(i) for rank in ranks for indices, _ in list(rank)[: rank.counted] for i in indices]
    assert sorted(seen) == list(range(length))


def test_refusals() -> None:
    with pytest.raises(DataError, match="multiple of 3"):
        TrainBatches(30, 4, rank=0, world=3, seed=0)


def series_split(rows: int = 24) -> ArraySplit:
    series = np.random.default_rng(0).normal(size=(rows, 5, 1)).astype(np.float32)
    augment = SeriesAugmenter(SeriesAugmentation(noise=0.5, shift=2))
    return ArraySplit({"series": series, "target": np.arange(rows)}, augment=augment)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_loader_gives_the_same_tensors(workers: int) -> None:
    def epochs(start: tuple[int, int]) -> list[dict[str, torch.Tensor]]:
        loader = train_loader(series_split(), 4, seed=7, workers=workers)
        loader.sampler.start_at(*start)  # type: ignore[union-attr]
        return [batch for _ in range(2) for batch in loader]

    whole, rest = epochs((1, 0)), epochs((1, 4))
    assert len(rest) == len(whole) - 4
    for one, other in zip(whole[4:], rest, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(
        whole[0]["series"], torch.from_numpy(series_split().batch(whole[0]["target"].numpy())["series"])
    )


def test_evaluation_does_not_augment() -> None:
    split = series_split()
    loaded = torch.cat([batch["series"] for batch in eval_loader(split, 5)])
    assert torch.equal(loaded, torch.from_numpy(split.batch(np.arange(len(split)))["series"]))
