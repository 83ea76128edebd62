"""The losses of the two players, and the penalties on the discriminator's gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from forgeline_architectures.adversarial.learning import PairModule
from forgeline_architectures.adversarial.penalties import away_from_one, r1
from forgeline_architectures.gan.config import GANConfig
from forgeline_architectures.gan.model import GAN, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import TaskModule


class GANModule(PairModule):
    """Non-saturating: Goodfellow et al. 2014, section 3. Wasserstein: Arjovsky et al. 2017, algorithm 1, with clipped
    weights, and Gulrajani et al. 2017, equation 3, with a penalty.
    """

    model: GAN

    @torch.no_grad()
    def discriminator_moved(self) -> None:
        limit = self.model.config.weight_limit
        if limit is not None:
            for weight in self.discriminator.parameters():
                weight.clamp_(-limit, limit)

    def penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        def score(samples: Tensor) -> Tensor:
            return self.model.logits(samples, condition)

        config = self.model.config
        steepness = r1(score, real) if config.name == "gan" else away_from_one(score, real, fake)
        return config.penalty_weight * steepness


def build_module(config: GANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return GANModule(
        build_model(config, signature),
        signature,
        options,
        game="non_saturating" if config.name == "gan" else "wasserstein",
        discriminator_steps=config.batches_per_step,
        betas=config.betas,
        gradient_penalty=config.penalty_weight > 0,
    )
