"""Generation in two stages: one part of a model learns first and then stays as it is, and the others learn from it.

Unusual: Lightning's optimiser is one, over both stages, and its learning rate goes its whole course in each. A part
that is not learning has no gradient, so that the optimiser leaves it alone, weight decay included.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.optimisation.schedules import learning_rate_factor
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, count_of
from forgeline_architectures.tasks.generation import GenerationModule


class StagedGenerationModule(GenerationModule):
    """The losses of both stages; a validation adds them up, so that its figures go on over the change of stage.

    Args:
        model: the family's.
        signature: of the data.
        options: of the training.
        first: the part of the model that learns first.
        first_steps: optimiser steps that it learns, fewer than the run has; 0 where its weights are there already.
    """

    def __init__(
        self,
        model: nn.Module,
        signature: Signature,
        options: TrainingOptions,
        *,
        first: nn.Module,
        first_steps: int,
    ) -> None:
        super().__init__(model, signature, options)
        self.first_steps = first_steps
        members = {id(parameter) for parameter in first.parameters()}
        self._first = [parameter for parameter in model.parameters() if id(parameter) in members]
        self._second = [parameter for parameter in model.parameters() if id(parameter) not in members]

    @property
    def in_first_stage(self) -> bool:
        """Whether the first part is learning."""
        return self.global_step < self.first_steps

    @abstractmethod
    def first_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        """Parts [batch] of the first stage's loss, `loss` itself among them."""

    @abstractmethod
    def second_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        """The same of the second stage; no gradient reaches the first part."""

    def loss(self, batch: Batch) -> Tensor:
        found = self.first_losses(batch, None) if self.in_first_stage else self.second_losses(batch, None)
        self.parts = {name: value.detach().mean() for name, value in found.items() if name != "loss"}
        return found["loss"].mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # DDP waits for a gradient of every parameter: those that are not learning get zeros, which are dropped below.
        held = sum(parameter.sum() for parameter in self._held_back() if parameter.requires_grad)
        return self.loss(batch) + 0.0 * held

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        for parameter in self._held_back():
            parameter.grad = None
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def scheduler_of(self, optimizer: Optimizer) -> LambdaLR:
        """What the second part learns from stays as the first stage leaves it: it ends at the lowest rate."""
        begun, total = self.first_steps, self.options.total_steps
        first, second = (learning_rate_factor(self.options.optimizer, steps) for steps in (begun, total - begun))
        return LambdaLR(optimizer, lambda step: first(step) if step < begun else second(step - begun))

    def evaluated(self, batch: Batch) -> Evaluated:
        generator = self.validation_generator()
        first, second = self.first_losses(batch, generator), self.second_losses(batch, generator)
        count = count_of(len(first["loss"]), first["loss"])
        return {
            "loss_sum": (first["loss"] + second["loss"]).sum(),
            "count": count,
            "outputs": None,
            "target": None,
            "parts": {name: value.sum() for name, value in {**first, **second}.items() if name != "loss"},
        }

    def _held_back(self) -> list[nn.Parameter]:
        return self._second if self.in_first_stage else self._first
