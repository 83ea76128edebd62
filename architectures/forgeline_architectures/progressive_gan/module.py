"""The losses of the two players, at the resolution of the step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

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
    """Karras et al. 2018. How far the networks have grown follows from the step alone, in a resumed run too.

    Attributes:
        grown_before: steps of the model that the run starts from, whose growth it goes on with; 0 for fresh weights.
    """

    model: ProgressiveGAN
    grown_before = 0

    def start_from(self, weights: Mapping[str, Tensor], *, fresh: Collection[str] = ()) -> None:
        super().start_from(weights, fresh=fresh)
        if "step" not in fresh:  # as where modules alone are taken over
            self.grown_before = int(self.model.step) + 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["grown_before"] = self.grown_before

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.grown_before = checkpoint.get("grown_before", 0)  # those of before have none

    def on_fit_start(self) -> None:
        """Refuse a run that ends before the networks are grown.

        Raises:
            ValueError: it does.
        """
        self.model.config.check_run(total_steps=self.grown_before + self.options.total_steps, pretrained=False)

    def learnt(self, batch: Batch) -> Tensor:
        """The pictures of a batch at the resolution of the step."""
        return self.model.shrunk(super().learnt(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.model.step.fill_(self.grown_before + self.trainer.global_step)
        loss = super().training_step(batch, batch_idx)
        # The step log stacks them with the loss, which is on a GPU where there is one.
        self.parts["resolution"] = torch.tensor(float(self.model.side), device=loss.device)
        self.parts["faded_in"] = torch.tensor(self.model.growth.share, device=loss.device)
        return loss

    @property
    def penalised(self) -> bool:
        """Wasserstein's loss leaves the scores free to wander, with a gradient penalty and without."""
        return self.gradient_penalty or self.model.config.loss == "wgan_gp"

    def penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        def score(samples: Tensor) -> Tensor:
            return self.model.logits(samples, condition)

        config = self.model.config
        if config.loss == "non_saturating":
            return config.penalty * r1(score, real)
        steepness = config.penalty * away_from_one(score, real, fake) if config.penalty else 0.0
        return steepness + DRIFT * score(real).square().mean()


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
