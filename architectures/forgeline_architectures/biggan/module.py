"""The Lightning module of the family: the hinge game, data and samples before the discriminator in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from forgeline_architectures.adversarial.learning import PairModule
from forgeline_architectures.biggan.config import BETAS, BigGANConfig
from forgeline_architectures.biggan.model import build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, TaskModule


class BigGANModule(PairModule):
    """The hinge: Brock et al. 2019, section 3, after Lim & Ye 2017."""

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        # The discriminator has no batch statistics: one pass over both halves the work of spectral normalisation.
        twice = {name: values.repeat(2) for name, values in self.condition(batch).items()}
        on_real, on_fake = self.model.logits(torch.cat([self.learnt(batch), fake]), twice).chunk(2)
        return self.game.discriminator(on_real, on_fake)


def build_module(config: BigGANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return BigGANModule(
        build_model(config, signature),
        signature,
        options,
        game="hinge",
        discriminator_steps=config.discriminator_steps,
        betas=BETAS,
    )
