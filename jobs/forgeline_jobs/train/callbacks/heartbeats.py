"""Beats at every turn of the training loop: at the same ones on every rank, so that ranks can be compared.

It comes first among the callbacks: what the others do at the end of a batch or of a validation belongs to the phase
that it announces there.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer
from forgeline_jobs.train.heartbeat import Heart, Phase


class Heartbeats(Callback):
    """Tells a heart where the loop is.

    Args:
        heart: of this process.
    """

    def __init__(self, heart: Heart) -> None:
        self._heart = heart

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heart.beat(Phase.LOADING)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._heart.begin_batch(trainer.fit_loop.epoch_loop.total_batch_idx, trainer.global_step)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._heart.beat(Phase.BACKWARD)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._heart.beat(Phase.STEPPING)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._heart.beat(Phase.LOADING)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._heart.beat(Phase.VALIDATING)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heart.beat(Phase.MEASURING)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heart.beat(Phase.LOADING)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._heart.beat(Phase.SAVING)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heart.beat(Phase.FINISHING)
