"""Classification: cross-entropy over classes, with label smoothing and class weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of


class ClassificationModule(TaskModule):
    """Cross-entropy in nats.

    Label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7) spreads its share of the target over all
    classes. It is a means of training: the validation loss is without smoothing and without class weights, so that
    runs with different options can be compared.
    """

    class_weights: Tensor | None

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        weights = options.class_weights
        if weights is not None and len(weights) != signature.outputs[0]:
            raise ValueError(
                f"class_weights needs one number per class, got {len(weights)} for {signature.outputs[0]} classes"
            )
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights), persistent=False)

    def answered(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [rows, classes] and target [rows] of whatever is classified."""
        return self.model(batch), batch["target"]

    def loss(self, batch: Batch) -> Tensor:
        return self.cross_entropy(*self.answered(batch))

    def cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over samples, with the options' smoothing and weights; logits [batch, classes], target [batch]."""
        smoothing = self.options.label_smoothing
        if self.class_weights is None:
            return F.cross_entropy(logits, target, label_smoothing=smoothing)
        # Divided by the number of samples, which is the same on every worker, where the sum of their weights is not.
        return F.cross_entropy(
            logits, target, weight=self.class_weights, label_smoothing=smoothing, reduction="sum"
        ) / len(target)

    def evaluated(self, batch: Batch) -> Evaluated:
        # In float32, since the probabilities of half-precision logits do not sum to 1.
        logits, target = self.answered(batch)
        logits = logits.float()
        return {
            "loss_sum": F.cross_entropy(logits, target, reduction="sum"),
            "count": count_of(len(target), logits),
            "outputs": logits.softmax(-1),
            "target": target,
        }
