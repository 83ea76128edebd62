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
        compiles: whether the model is compiled, at its first step or at any later one that meets something new.
    """

    def __init__(self, heart: Heart, *, compiles: bool = False) -> None:
        self._heart = heart
        self._compiles = compiles

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._compiles:
            from torch._dynamo import callback  # takes a while

            callback.on_compile_start(self._begin_compiling)
            callback.on_compile_end(self._end_compiling)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._compiles:
            from torch._dynamo.callback import callback_handler

            callback_handler.remove_start_callback(self._begin_compiling)
            callback_handler.remove_end_callback(self._end_compiling)

    def _begin_compiling(self, told: Any) -> None:
        self._heart.begin_compiling()

    def _end_compiling(self, told: Any) -> None:
        self._heart.end_compiling()

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
