"""The Lightning module of the family: the autoencoder's loss at first, the denoising loss of its latents then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from forgeline_architectures.diffusion.learning import denoising_errors, partly_dropped
from forgeline_architectures.latent_diffusion.config import LatentDiffusionConfig
from forgeline_architectures.latent_diffusion.model import LatentDiffusion, build_model, build_pretrained
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, TaskModule
from forgeline_architectures.tasks.staged import StagedGenerationModule


class LatentDiffusionModule(StagedGenerationModule):
    """First the error of pictures and `kl` times the divergence, per number of a picture; then denoising."""

    model: LatentDiffusion

    def first_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        pictures = self.learnt(batch)
        found = self.model.autoencode(pictures, generator)
        if self.training:
            self.model.measure(found.latent.detach())
        # Sums over a picture, weighed as the authors' code does, so that `kl` means the same, over its numbers.
        size = pictures[0].numel()
        error, kl = found.error / size, found.kl / size
        return {"loss": error + self.model.config.kl * kl, "reconstruction": error, "kl": kl}

    def second_losses(self, batch: Batch, generator: torch.Generator | None) -> Mapping[str, Tensor]:
        model, condition = self.model, self.condition(batch)
        with torch.no_grad():
            latents = model.latents(self.learnt(batch))
        share = model.config.unconditional if self.training else 0.0
        asked = {"text": model.text.states(partly_dropped(condition, model.nothing(condition), share)["caption"])}
        errors = denoising_errors(
            lambda noisy, time: model.predict(noisy, time, asked), model.schedule, latents, generator=generator
        )
        return {"loss": errors, "denoising": errors}

    def compile_model(self) -> None:
        autoencoder = cast(Any, self.model.autoencoder)
        for part in (autoencoder.encoder, autoencoder.decoder, self.model.network):
            part.compile()


def build_module(config: LatentDiffusionConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task, or leave no step to the U-Net, or the weights of
            `pretrained` do not fit the model.
    """
    # The weights of a trained model come after this, if at all.
    config.check_run(total_steps=options.total_steps, pretrained=True)
    model = (build_pretrained if config.pretrained else build_model)(config, signature)
    return LatentDiffusionModule(
        model,
        signature,
        options,
        first=model.autoencoder,
        first_steps=config.autoencoder_steps,
    )
