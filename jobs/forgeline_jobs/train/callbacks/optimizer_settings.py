"""A run that goes on steps as its specification says now.

A checkpoint brings the optimizer's state, and with it the settings that it had: a learning rate, weight decay or betas
that were changed for the rest of a run would be put back without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer


class OptimizerSettings(Callback):
    """Keeps the settings that the optimizers were made with over the restoring of a checkpoint."""

    def __init__(self) -> None:
        self._made: list[list[dict[str, Any]]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning has made the optimizers by now, and restores their state afterwards.
        self._made = [
            [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer, made in zip(trainer.optimizers, self._made, strict=True):
            _begin_momentum(optimizer)
            for group, settings in zip(optimizer.param_groups, made, strict=True):
                group.update({key: value for key, value in settings.items() if key != "lr"})
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, LambdaLR):
                _set_rates(config.scheduler)


def _begin_momentum(optimizer: Optimizer) -> None:
    """The buffers that RMSprop has with a momentum alone, and looks for without making them on the way."""
    if isinstance(optimizer, RMSprop):
        for state in optimizer.state.values():
            state.setdefault("momentum_buffer", torch.zeros_like(state["square_avg"]))


def _set_rates(scheduler: LambdaLR) -> None:
    """The rates of the step that the scheduler is at, as it computes them itself."""
    groups = scheduler.optimizer.param_groups
    scheduler.base_lrs = [group["initial_lr"] for group in groups]
    step = scheduler.last_epoch
    for group, base, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * factor(step)
    scheduler._last_lr = [group["lr"] for group in groups]
