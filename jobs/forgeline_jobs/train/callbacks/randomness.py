"""Random numbers as a function of (seed, rank, batch, piece): a resumed run draws what the uninterrupted one drew.

No generator state is stored: the generator is seeded anew before every batch, as counter-based generators are
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import torch

from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer


def fold(seed: int, rank: int, batch: int) -> int:
    """A 63-bit seed of its own for each (seed, rank, batch)."""
    digest = hashlib.blake2b(struct.pack("<QQQ", seed, rank, batch), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class BatchRandomness(Callback):
    """Seeds torch before every training batch.

    Args:
        seed: of the run.
        rank: of this worker among those that read samples of their own.
        pieces: that its share of a batch comes in; the first one draws as the whole share would.
    """

    def __init__(self, seed: int, *, rank: int, pieces: int = 1) -> None:
        self.seed = seed
        self.rank = rank
        self.pieces = pieces

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        whole, piece = divmod(trainer.fit_loop.epoch_loop.total_batch_idx, self.pieces)
        seed = fold(self.seed, self.rank, whole)
        torch.manual_seed(fold(seed, self.rank, piece) if piece else seed)
