"""The Lightning module of the family: its model under the module of the task."""

from __future__ import annotations

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module
from forgeline_architectures.transformer.config import TransformerConfig
from forgeline_architectures.transformer.model import build_model


def build_module(config: TransformerConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return task_module(build_model(config, signature), signature, options)
