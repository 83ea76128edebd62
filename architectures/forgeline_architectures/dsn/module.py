"""The Lightning module of the family: a closed-form fit in each step, and a gradient for what lies below it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from forgeline_architectures.dsn.config import DSNConfig
from forgeline_architectures.dsn.model import DeepStackingNetwork, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule
from forgeline_architectures.tasks.base import Batch
from forgeline_architectures.tasks.classification import ClassificationModule


class StackingModule(ClassificationModule):
    """Squared error against smoothed 0/1 targets while training; validation is every classifier's cross-entropy."""

    model: DeepStackingNetwork

    def loss(self, batch: Batch) -> Tensor:
        classes, target = self.signature.outputs[0], batch["target"]
        # The sums of a fit need single precision, whatever the layers of other families run in.
        with torch.autocast(target.device.type, enabled=False):
            smoothing = self.options.label_smoothing
            wanted = F.one_hot(target, classes).float() * (1 - smoothing) + smoothing / classes
            weights = self.class_weights
            weight = torch.ones_like(wanted[:, 0]) if weights is None else weights[target]
            return self.model.fit(batch, wanted, weight)


def build_module(config: DSNConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return StackingModule(build_model(config, signature), signature, options)
