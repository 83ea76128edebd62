"""The Lightning module of the family: the relaxed bound of the autoencoder at first, next tokens then."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from forgeline_architectures.dalle.config import DalleConfig
from forgeline_architectures.dalle.model import Dalle, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, TaskModule
from forgeline_architectures.tasks.staged import StagedGenerationModule


class DalleModule(StagedGenerationModule):
    """First the bound, in nats per number of a picture; then cross-entropy in nats per token."""

    model: Dalle

    @property
    def temperature(self) -> float:
        """Of the relaxed codes: from 1 down to `coldest` by a cosine over the first stage (appendix A.2)."""
        share = min(self.global_step / max(self.first_steps, 1), 1.0)
        coldest = self.model.config.coldest
        return coldest + (1 - coldest) * (1 + math.cos(math.pi * share)) / 2

    def first_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        pictures = self.learnt(batch)
        found = self.model.autoencoder.relaxed(pictures, self.temperature if self.training else 0.0, generator)
        size = pictures[0].numel()
        reconstruction, kl = found.reconstruction / size, found.kl / size
        return {"loss": reconstruction + self.model.config.kl * kl, "reconstruction": reconstruction, "kl": kl}

    def second_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        text, picture = self.model.written(batch)
        weight = self.model.config.text_weight
        # The paper's shares: an eighth for the text, seven eighths for the picture (section 2.2).
        return {"loss": weight * text + (1 - weight) * picture, "text": text, "picture": picture}

    def compile_model(self) -> None:
        for part in (self.model.autoencoder.encoder, self.model.autoencoder.decoder, *self.model.decoder.blocks):
            part.compile()


def build_module(config: DalleConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task, or leave no step to the decoder.
    """
    # The weights of a trained model come after this, if at all.
    config.check_run(total_steps=options.total_steps, pretrained=True)
    model = build_model(config, signature)
    return DalleModule(
        model,
        signature,
        options,
        first=model.autoencoder,
        first_steps=config.autoencoder_steps,
    )
