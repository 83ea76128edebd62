"""The Lightning modules of the family: layer by layer without labels, or cross-entropy over classes.

- Each layer is trained for its share of the run's steps, from the lowest to the last, with the learning rate's whole
  course in each share; the others stand still. Which layer it is follows from the step, so that a resumed run goes on
  with it.
- Persistent chains are buffers: in a checkpoint, but not in a bundle. Several workers go on from those of the first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.dbn.config import DBNConfig
from forgeline_architectures.dbn.model import DeepBeliefNetwork, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.optimisation.schedules import learning_rate_factor
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module
from forgeline_architectures.tasks.base import Batch, Evaluated, count_of
from forgeline_architectures.tasks.generation import GenerationModule


class LayerwiseModule(GenerationModule):
    """Contrastive divergence. Validation is the cross-entropy in nats of pictures sent up to the layer and back."""

    model: DeepBeliefNetwork
    called = ("contrast",)

    def __init__(self, model: DeepBeliefNetwork, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        self.steps_per_layer = -(-options.total_steps // len(model.layers))
        if model.config.persistent:
            for level, layer in enumerate(model.machines):
                states = torch.rand(model.config.chains, layer.weight.shape[1]).round()
                self.register_buffer(f"chains_{level}", states)

    @property
    def level(self) -> int:
        """The layer that learns at this step, counted from 0."""
        return min(self.global_step // self.steps_per_layer, len(self.model.layers) - 1)

    def loss(self, batch: Batch) -> Tensor:
        level = self.level
        with torch.no_grad():
            shown = self.model.below(self.model.visible(batch), level)
        chains = getattr(self, f"chains_{level}", None)
        loss, states = self.model.contrast(shown, shown if chains is None else chains, level)
        if chains is not None:
            chains.copy_(states)
        # Distributed training waits for a gradient of every parameter; `on_before_optimizer_step` drops the others'.
        others = [weight.sum() for other in self._others() for weight in other.parameters() if weight.requires_grad]
        return loss + 0 * torch.stack(others).sum() if others else loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Without a gradient, a parameter is moved neither by momentum nor by weight decay."""
        for layer in self._others():
            for weight in layer.parameters():
                weight.grad = None

    def evaluated(self, batch: Batch) -> Evaluated:
        depth = min(max(-(-self.global_step // self.steps_per_layer), 1), len(self.model.layers))
        visible = self.model.visible(batch)
        made = self.model.reconstructed(visible, depth).float()
        with torch.autocast(visible.device.type, enabled=False):
            reconstruction = F.binary_cross_entropy(made, visible.float(), reduction="sum")
        return {
            "loss_sum": reconstruction,
            "count": count_of(len(visible), visible),
            "outputs": None,
            "target": None,
            "parts": {"reconstruction": reconstruction},
        }

    def scheduler_of(self, optimizer: Optimizer) -> LambdaLR:
        steps = self.steps_per_layer
        factor = learning_rate_factor(self.options.optimizer, steps)
        return LambdaLR(optimizer, lambda step: factor(step % steps))

    def _others(self) -> list[Any]:
        level = self.level
        return [layer for index, layer in enumerate(self.model.machines) if index != level]


def build_module(config: DBNConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    model = build_model(config, signature)
    if signature.task == "generation":
        return LayerwiseModule(model, signature, options)
    return task_module(model, signature, options)
