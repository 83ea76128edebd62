"""The Lightning module of the family: the non-saturating game."""

from __future__ import annotations

from forgeline_architectures.adversarial.learning import PairModule
from forgeline_architectures.dcgan.config import BETAS, DCGANConfig
from forgeline_architectures.dcgan.model import build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import TaskModule


def build_module(config: DCGANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    model = build_model(config, signature)
    return PairModule(model, signature, options, game="non_saturating", betas=BETAS)
