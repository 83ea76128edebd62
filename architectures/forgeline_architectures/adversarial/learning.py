"""How a pair of networks learns: the game they play, and what is added to the discriminator's loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from forgeline_architectures.adversarial.losses import GAMES
from forgeline_architectures.adversarial.pair import AdversarialPair
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.adversarial import AdversarialModule
from forgeline_architectures.tasks.base import Batch


class PairModule(AdversarialModule):
    """A pair under one of `GAMES`; a family with a penalty overrides `penalty`.

    Args:
        game: name of the losses.
        settings: those of `AdversarialModule`.
    """

    model: AdversarialPair

    def __init__(
        self, model: AdversarialPair, signature: Signature, options: TrainingOptions, *, game: str, **settings: Any
    ) -> None:
        super().__init__(model, signature, options, **settings)
        self.game = GAMES[game]

    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        noise = self.model.noise(len(self.learnt(batch)), device=self.device, generator=generator)
        return self.model.made(noise, self.condition(batch))

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        real, condition = self.learnt(batch), self.condition(batch)
        loss = self.game.discriminator(self.model.logits(real, condition), self.model.logits(fake, condition))
        return loss + self.penalty(real, fake, condition) if self.training and self.penalised else loss

    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        return self.game.generator(self.model.logits(fake, self.condition(batch)))

    @property
    def penalised(self) -> bool:
        """Whether `penalty` is added to the discriminator's loss in training."""
        return self.gradient_penalty

    def penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """What is added to the discriminator's loss in training, where the module is `penalised`."""
        raise NotImplementedError
