"""The losses of the two players, at the resolution of the step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from forgeline_architectures.adversarial.learning import PairModule
from forgeline_architectures.adversarial.penalties import away_from_one, r1
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.progressive_gan.config import ProgressiveGANConfig
from forgeline_architectures.progressive_gan.model import ProgressiveGAN, build_model
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, TaskModule

BETAS = (0.0, 0.99)  # appendix A.1
DRIFT = 0.001  # appendix A.1: weight of the squared scores of data, which Wasserstein's loss leaves free to wander
GAMES = {"wgan_gp": "wasserstein", "non_saturating": "non_saturating"}


class ProgressiveGANModule(PairModule):
    """Karras et al. 2018. How far the networks have grown follows from the step alone, in a resumed run too."""

    model: ProgressiveGAN

    def on_fit_start(self) -> None:
        """Refuse a run that ends before the networks are grown.

        Raises:
            ValueError: it does.
        """
        self.model.config.check_run(total_steps=self.options.total_steps, pretrained=False)

    def learnt(self, batch: Batch) -> Tensor:
        """The pictures of a batch at the resolution of the step."""
        return self.model.shrunk(super().learnt(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.model.step.fill_(self.trainer.global_step)
        loss = super().training_step(batch, batch_idx)
        # The step log stacks them with the loss, which is on a GPU where there is one.
        self.parts["resolution"] = torch.tensor(float(self.model.side), device=loss.device)
        self.parts["faded_in"] = torch.tensor(self.model.growth.share, device=loss.device)
        return loss

    def penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        def score(samples: Tensor) -> Tensor:
            return self.model.logits(samples, condition)

        config = self.model.config
        if config.loss == "non_saturating":
            return config.penalty * r1(score, real)
        return config.penalty * away_from_one(score, real, fake) + DRIFT * score(real).square().mean()


def build_module(config: ProgressiveGANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return ProgressiveGANModule(
        build_model(config, signature),
        signature,
        options,
        game=GAMES[config.loss],
        betas=BETAS,
        gradient_penalty=config.penalty > 0,
    )
