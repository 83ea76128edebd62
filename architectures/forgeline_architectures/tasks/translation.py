"""Translation: one sequence into another, learnt with the true target before each token, measured on the model's own.

Teacher forcing (Williams & Zipser 1989): the model reads `previous`, the target moved on by one, and gives the logits
of every token. What it writes by itself comes from its `translate`.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule
from forgeline_architectures.tasks.language_modelling import IGNORED, even_share, summed_cross_entropy


class Translator(Protocol):
    """A model that writes targets."""

    def translate(self, batch: Batch) -> Tensor:
        """Tokens [batch, limit], each row closed by its end token and filled up with padding."""


class TranslationModule(TaskModule):
    """Cross-entropy in nats per token of the target; -100 is ignored, and the validation loss is not smoothed."""

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        if options.class_weights is not None:
            raise ValueError(f"class_weights are for classification; the task is {signature.task}: remove them")

    def loss(self, batch: Batch) -> Tensor:
        target, smoothing = batch["target"], self.options.label_smoothing
        total = summed_cross_entropy(self.model(batch), target, label_smoothing=smoothing)
        return total / even_share((target != IGNORED).sum())

    def evaluated(self, batch: Batch) -> Evaluated:
        target = batch["target"]
        return {
            "loss_sum": summed_cross_entropy(self.model(batch), target),
            "count": (target != IGNORED).sum(),
            "outputs": cast(Translator, self.model).translate(batch),
            "target": target,
        }
