"""Regression: mean squared error of standardised targets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of


class RegressionModule(TaskModule):
    """Squared error, meant over targets and samples; label smoothing and class weights are refused."""

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        refuse_class_options(signature, options)

    def loss(self, batch: Batch) -> Tensor:
        return F.mse_loss(self.model(batch), batch["target"])

    def evaluated(self, batch: Batch) -> Evaluated:
        predictions, target = self.model(batch).float(), batch["target"]
        return {
            "loss_sum": F.mse_loss(predictions, target) * len(target),
            "count": count_of(len(target), predictions),
            "outputs": predictions,
            "target": target,
        }


def refuse_class_options(signature: Signature, options: TrainingOptions) -> None:
    """Refuse what only classification has.

    Raises:
        ValueError: label smoothing or class weights are set.
    """
    if options.class_weights is not None:
        raise ValueError(f"class_weights are for classification; the task is {signature.task}: remove them")
    if options.label_smoothing:
        raise ValueError(
            f"label_smoothing {options.label_smoothing} is for classification; the task is {signature.task}: "
            "set it to 0"
        )
