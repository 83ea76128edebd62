"""Writes what every step consumed and produced, so that two courses of training can be held against each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer


def file_name(rank: int) -> str:
    """Of a rank's trace in the folder of its attempt."""
    return f"trace-{rank}.jsonl"


class StepTrace(Callback):
    """One line for each optimizer step: digests of the samples and of the weights, and the loss to the last bit.

    Args:
        folder: of the attempt.
        rank: of this worker, which traces what it holds itself.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._rank = rank
        self._file = (folder / file_name(rank)).open("w", encoding="utf-8", buffering=1)
        self._samples = hashlib.sha256()
        self._losses: list[str] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        _add(self._samples, (batch[name] for name in sorted(batch)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]).hex())
        if trainer.fit_loop._should_accumulate():
            return
        weights = hashlib.sha256()
        _add(weights, (_own(parameter, self._rank) for parameter in pl_module.parameters()))
        line = {
            "step": trainer.global_step,
            "samples": self._samples.hexdigest(),
            "loss": " ".join(self._losses),
            "weights": weights.hexdigest(),
        }
        self._file.write(json.dumps(line) + "\n")
        self._samples, self._losses = hashlib.sha256(), []


def _own(parameter: Any, rank: int) -> Tensor:
    """A parameter, or this worker's share where ZeRO shares it out, without the padding, which holds anything."""
    share: Tensor | None = getattr(parameter, "ds_tensor", None)
    if share is None:
        return cast(Tensor, parameter)
    numbers = share.numel()
    return share.reshape(-1)[: max(0, min(numbers, parameter.ds_numel - rank * numbers))]


def _add(digest: Any, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        held = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        held = held.detach().to("cpu").contiguous()
        digest.update(f"{held.dtype} {tuple(held.shape)}".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().data)
