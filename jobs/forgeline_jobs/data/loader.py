"""The one module with torch: splits as DataLoaders over index batches.

A batch is fetched whole by one indexing call, where the stock DataLoader fetches samples one by one and stacks them.
The order is a pure function of (seed, epoch), global batch i is `order[i * B : (i + 1) * B]` and rank r takes every
world-th of it from r on: the samples of a step are the same for any number of workers, and an epoch can be entered at
any batch. The epoch travels with the indices, so that worker processes that were started earlier augment rightly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from forgeline.errors import DataError
from forgeline_jobs.data.base import Indices, Keys, Split, as_int64
from forgeline_jobs.data.randomness import permutation

Request = tuple[Indices, Keys | None]
_SHOWN = 8


class TrainBatches(Sampler[Request]):
    """Index batches of one rank, epoch after epoch; its share of a batch may come in equal pieces, one after another.

    Args:
        length: samples in the split.
        batch_size: samples of a batch over all ranks.
        rank: this worker's number.
        world: number of workers.
        seed: seed of order and augmentation.
        pieces: that a rank's share is cut into.

    Raises:
        DataError: the workers cannot share a batch evenly.
    """

    def __init__(self, length: int, batch_size: int, *, rank: int, world: int, seed: int, pieces: int = 1) -> None:
        if batch_size % world:
            raise DataError(
                f"batch_size {batch_size} cannot be shared evenly by {world} workers; set it to a multiple of {world}",
                key="data.batch_size",
            )
        if batch_size // world % pieces:
            raise ValueError(f"{batch_size // world} samples of a worker in {pieces} equal pieces")
        self.length = length
        self.batch_size = batch_size
        self.pieces = pieces
        self.rank = rank
        self.world = world
        self.seed = seed
        self.epoch = 0
        self._start = (0, 0)

    @property
    def batches(self) -> int:
        """Whole batches of a full epoch, whatever batch it was entered at."""
        return self.length // self.batch_size

    def __len__(self) -> int:
        """Pieces of a full epoch."""
        return self.batches * self.pieces

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass goes through."""
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Enter at this batch when (and only when) a pass goes through this epoch; later epochs are whole.

        Raises:
            ValueError: the epoch has fewer batches.
        """
        if not 0 <= batch <= self.batches:
            raise ValueError(f"batch {batch} of an epoch that has {self.batches}")
        self.epoch = epoch
        self._start = (epoch, batch)

    def global_batch(self, epoch: int, batch: int) -> Indices:
        """The samples of one step over all ranks."""
        order = permutation(self.length, seed=self.seed, epoch=epoch)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def describe(self, epoch: int, batch: int) -> str:
        """The samples of one step, for a message."""
        indices = self.global_batch(epoch, batch)
        shown = ", ".join(str(index) for index in indices[:_SHOWN])
        return f"train samples {shown}" + (f" and {len(indices) - _SHOWN} more" if len(indices) > _SHOWN else "")

    def __iter__(self) -> Iterator[Request]:
        epoch = self.epoch
        start = self._start[1] if self._start[0] == epoch else 0
        order = permutation(self.length, seed=self.seed, epoch=epoch)
        for batch in range(start, self.batches):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            own = chosen[self.rank :: self.world]
            size = len(own) // self.pieces
            for piece in range(self.pieces):
                yield own[piece * size : (piece + 1) * size], (self.seed, epoch)
        # Without a caller of `set_epoch`, the pass after a whole one is the next epoch.
        if self.epoch == epoch:
            self.epoch = epoch + 1


class EvalBatches(Sampler[Request]):
    """Index batches that go over the ranks' shares in order, every sample exactly once.

    Args:
        length: samples in the split.
        batch_size: samples over all ranks.
        rank: this worker's number.
        world: number of workers.
        even: give each rank as many batches, as it must have where the model's parts are fetched from all of them. A
            rank that has a batch less gets a sample once more at the end, which is not to be counted.

    Attributes:
        counted: batches of samples of its own.
    """

    def __init__(self, length: int, batch_size: int, *, rank: int, world: int, even: bool = False) -> None:
        self.indices = as_int64(range(rank, length, world))
        self.batch_size = max(1, batch_size // world)
        self.counted = math.ceil(len(self.indices) / self.batch_size)
        self._batches = math.ceil(math.ceil(length / world) / self.batch_size) if even else self.counted

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Request]:
        for start in range(0, len(self.indices), self.batch_size):
            yield self.indices[start : start + self.batch_size], None
        for _ in range(self.counted, self._batches):
            yield as_int64([0]), None


class BatchDataset(Dataset[dict[str, torch.Tensor]]):
    """A split whose items are whole batches."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, request: Request) -> dict[str, torch.Tensor]:
        indices, keys = request
        return {name: torch.from_numpy(array) for name, array in self.split.batch(indices, keys).items()}


Loader = DataLoader[dict[str, torch.Tensor]]


def train_loader(
    split: Split,
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
    workers: int = 0,
    pin: bool = False,
    pieces: int = 1,
) -> Loader:
    """Shuffled, augmented batches of one rank; `loader.sampler` is a `TrainBatches`.

    Args:
        split: the train split.
        batch_size: samples of a batch over all ranks.
        rank: this worker's number.
        world: number of workers.
        seed: seed of order and augmentation.
        pieces: that a rank's share of a batch comes in.
        workers: processes that load ahead.
        pin: put batches into page-locked memory, for copies to a GPU.
    """
    sampler = TrainBatches(len(split), batch_size, rank=rank, world=world, seed=seed, pieces=pieces)
    return _loader(split, sampler, workers, pin)


def eval_loader(
    split: Split,
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin: bool = False,
    even: bool = False,
) -> Loader:
    """Batches in order, not augmented, every sample exactly once over the ranks; some may get one sample less.

    With `even`, each rank gets as many batches; `loader.sampler` is an `EvalBatches` and tells how many of them count.
    """
    return _loader(split, EvalBatches(len(split), batch_size, rank=rank, world=world, even=even), workers, pin)


def _loader(split: Split, sampler: Any, workers: int, pin: bool) -> Loader:
    return DataLoader(
        BatchDataset(split),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=pin,
        persistent_workers=workers > 0,
    )


def _as_is(batch: Any) -> Any:
    return batch
