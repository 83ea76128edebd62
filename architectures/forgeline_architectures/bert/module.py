"""The Lightning module of the family: its model under the module of the task."""

from __future__ import annotations

from forgeline_architectures.bert.config import BertConfig
from forgeline_architectures.bert.model import build_model, build_pretrained
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module


def build_module(config: BertConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train, from trained weights where the config asks for them.

    Raises:
        ValueError: the options do not fit model or task, or the weights cannot be had.
    """
    build = build_pretrained if config.pretrained else build_model
    return task_module(build(config, signature), signature, options)
