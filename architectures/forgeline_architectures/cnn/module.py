"""The Lightning module of the family: its model under the module of the task."""

from __future__ import annotations

from torch import Tensor

from forgeline_architectures.cnn.config import CNNConfig
from forgeline_architectures.cnn.model import ImageNetwork, build_model, build_pretrained
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module
from forgeline_architectures.tasks.base import Batch
from forgeline_architectures.tasks.classification import ClassificationModule


class AuxiliaryClassificationModule(ClassificationModule):
    """Classification with a second, earlier head whose loss is added, weighted, while training.

    The head makes the lower layers learn sooner and regularises (Szegedy et al. 2016, arXiv:1512.00567, section 4).
    The paper gives no weight for its loss; 0.4 is that of the authors' TensorFlow code.
    """

    model: ImageNetwork
    called = ("with_auxiliary",)

    def __init__(self, model: ImageNetwork, signature: Signature, options: TrainingOptions, *, weight: float) -> None:
        super().__init__(model, signature, options)
        self.weight = weight

    def loss(self, batch: Batch) -> Tensor:
        logits, early = self.model.with_auxiliary(batch)
        target = batch["target"]
        return self.cross_entropy(logits, target) + self.weight * self.cross_entropy(early, target)


def build_module(config: CNNConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train, from trained weights where the config asks for them.

    Raises:
        ValueError: the options do not fit model or task, or the trained weights cannot be had.
    """
    build = build_pretrained if config.pretrained else build_model
    model = build(config, signature)
    if config.auxiliary:
        return AuxiliaryClassificationModule(model, signature, options, weight=config.auxiliary)
    return task_module(model, signature, options)
