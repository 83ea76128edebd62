"""The Lightning module of the family: its model under the module of the task."""

from __future__ import annotations

from forgeline_architectures.mpnn.config import MPNNConfig
from forgeline_architectures.mpnn.model import build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module


def build_module(config: MPNNConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return task_module(build_model(config, signature), signature, options)
