"""What the sharded strategies share of a checkpoint: the trainer's state beside the pieces of every worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import distributed, nn
from torch.optim import Optimizer

from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.strategies import shards
from forgeline_jobs.train.strategies.buffers import stored_buffers
from forgeline_jobs.train.strategies.shards import WEIGHT, Piece, Shards, whole_piece

GROUPS = "optimizer_groups"  # learning rates and the like, by parameter group
_SETTING = (bool, int, float, str, tuple, type(None))


def write_state(content: Mapping[str, Any], file: Path) -> None:
    """Write what one worker writes for all."""
    # torch's own stream tells no reason when the disk is full.
    with file.open("wb") as stream:
        torch.save(content, stream)


class TakenIO(TorchCheckpointIO):
    """Hands what Lightning would write over to a writer, under the name of the file that it would be.

    Args:
        writer: of this worker.
    """

    def __init__(self, writer: CheckpointWriter) -> None:
        super().__init__()
        self._writer = writer

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self._writer.take(Path(path).name, checkpoint, write_state)


class SavesShares:
    """A Lightning strategy that keeps weights and optimizer state out of the trainer's own checkpoint.

    Each worker writes its pieces beside it; the whole would fit no worker.
    """

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return {}


def save(
    checkpoint: dict[str, Any],
    file: Path,
    pieces: Iterable[Piece],
    *,
    groups: list[dict[str, Any]],
    writer: CheckpointWriter,
) -> None:
    """Hand a checkpoint over to the writer; called by every worker.

    Args:
        checkpoint: what the trainer keeps; weights and optimizer state are not in it.
        file: rank 0 writes it, every worker its pieces beside it.
        pieces: of this worker.
        groups: parameter groups of the optimizer.
        writer: of this worker.
    """
    rank = distributed.get_rank()
    name = shards.file_name(rank, distributed.get_world_size())
    writer.take(name, shards.content(pieces), shards.write, apart=True)
    if rank == 0:
        kept = {key: value for key, value in checkpoint.items() if key not in ("state_dict", "optimizer_states")}
        writer.take(file.name, {**kept, GROUPS: [dict(_settings(group)) for group in groups]}, write_state)


def load(file: Path, *, groups: list[dict[str, Any]]) -> tuple[dict[str, Any], Shards]:
    """What the trainer kept, and the pieces of all workers; sets the groups' learning rates and the like.

    Raises:
        ValueError: the optimizer has other parameter groups.
    """
    checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    stored = checkpoint.pop(GROUPS)
    if len(stored) != len(groups):
        raise ValueError(f"the checkpoint has {len(stored)} parameter groups, the optimizer {len(groups)}")
    for group, settings in zip(groups, stored, strict=True):
        # What the step does is the spec's; the rate moved with the schedule.
        group.update({key: value for key, value in settings.items() if key in ("lr", "initial_lr")})
    return checkpoint, Shards(file.parent)


def buffers(module: nn.Module) -> Iterator[Piece]:
    """What a state dict holds besides parameters, whole on every worker."""
    for name, buffer in stored_buffers(module).items():
        yield whole_piece(WEIGHT, name, buffer)


def _settings(group: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in group.items():
        if key != "params" and isinstance(value, _SETTING):
            yield key, value
