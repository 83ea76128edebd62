"""What the Lightning modules of all tasks share: optimiser, schedule, frozen layers, averaged weights, gradient norm.

Unusual: nothing is logged from in here. `self.log` costs more than a small model's step, so the module only keeps
`last_gradient_norm` for callbacks to read when they want to.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from forgeline_architectures.optimisation.ema import ExponentialMovingAverage
from forgeline_architectures.optimisation.optimisers import build_optimizer
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.optimisation.parameters import freeze, frozen_norms
from forgeline_architectures.optimisation.schedules import build_scheduler
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.lightning_import import LightningModule

Batch = Mapping[str, Tensor]
MODEL_PREFIX = "model."


class Evaluated(TypedDict):
    """What a validation step returns.

    `outputs` are probabilities for classification, standardised predictions for regression and forecasting, and None
    for language models, as is `target` then.
    """

    loss_sum: Tensor
    count: Tensor
    outputs: Tensor | None
    target: Tensor | None


class TaskModule(LightningModule):
    """A model with its loss, optimiser and schedule.

    Attributes:
        model: the family's model; its state dict is what a bundle stores.
        signature: what the data promised.
        options: optimiser, schedule, smoothing, averaging, freezing.
        last_gradient_norm: global L2 norm before clipping at the newest optimizer step, None before the first.
        ema: averaged weights, None where the options ask for none.
    """

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__()
        self.model = model
        self.signature = signature
        self.options = options
        self.last_gradient_norm: Tensor | None = None
        freeze(model, options.freeze)
        self._held = frozen_norms(model)
        for layer in self._held:  # Lightning keeps each layer's mode, and calls `train` only after it called `eval`
            layer.eval()
        self.ema = None if options.ema is None else ExponentialMovingAverage(model, options.ema)

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch, over samples or tokens."""
        raise NotImplementedError

    @abstractmethod
    def evaluated(self, batch: Batch) -> Evaluated:
        """Summed loss, count, and what metrics are computed from."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """The model's raw output."""
        return cast(Tensor, self.model(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Evaluated:
        return self.evaluated(batch)

    def configure_optimizers(self) -> Any:
        # Fused kernels unscale 16-bit gradients inside the step, where they can no longer be clipped.
        scaled = self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = build_optimizer(self.model, self.options, fused=not scaled)
        scheduler = build_scheduler(optimizer, self.options.optimizer, self.options.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def train(self, mode: bool = True) -> TaskModule:
        super().train(mode)
        for module in self._held:
            module.eval()
        return self

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the global norm where asked, and keep the norm: one pass over the gradients serves both."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        if gradient_clip_val:
            self.last_gradient_norm = nn.utils.clip_grad_norm_(parameters, gradient_clip_val).detach()
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.last_gradient_norm = nn.utils.get_total_norm(gradients).detach()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update()

    def on_validation_epoch_start(self) -> None:
        if self.ema is not None:
            self.ema.swap()

    def on_validation_epoch_end(self) -> None:
        if self.ema is not None:
            self.ema.swap()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            if "ema" not in checkpoint:
                raise ValueError(
                    "the checkpoint has no averaged weights; it was written without trainer.ema: remove it"
                )
            self.ema.load_state_dict(checkpoint["ema"])


def deployed_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to deploy out of a checkpoint's content, under the names of the model."""
    if "ema" in checkpoint:
        return dict(checkpoint["ema"]["weights"])
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(MODEL_PREFIX): state[name] for name in state if name.startswith(MODEL_PREFIX)}


def count_of(batch_size: int, like: Tensor) -> Tensor:
    """A count on the device of `like`, so that it can be reduced together with a loss."""
    return torch.tensor(float(batch_size), device=like.device)
