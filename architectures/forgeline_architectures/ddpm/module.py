"""The Lightning module of the family: the denoising loss."""

from __future__ import annotations

import torch
from torch import Tensor

from forgeline_architectures.ddpm.config import DDPMConfig
from forgeline_architectures.ddpm.model import DDPM, build_model, build_pretrained
from forgeline_architectures.diffusion.learning import denoising_errors, partly_dropped
from forgeline_architectures.diffusion.sampling import Rows
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of
from forgeline_architectures.tasks.generation import GenerationModule


class DDPMModule(GenerationModule):
    """Squared error of the predicted noise (or velocity), meant over pixels, times and samples."""

    model: DDPM

    def loss(self, batch: Batch) -> Tensor:
        condition = self.condition(batch)
        asked = partly_dropped(condition, self.model.nothing(condition), self.model.config.unconditional)
        return self._errors(batch, asked, None).mean()

    def evaluated(self, batch: Batch) -> Evaluated:
        errors = self._errors(batch, self.condition(batch), self.validation_generator())
        return {"loss_sum": errors.sum(), "count": count_of(len(errors), errors), "outputs": None, "target": None}

    def compile_model(self) -> None:
        self.model.network.compile()

    def _errors(self, batch: Batch, condition: Rows, generator: torch.Generator | None) -> Tensor:
        model = self.model
        return denoising_errors(
            lambda noisy, time: model.predict(noisy, time, condition),
            model.schedule,
            self.learnt(batch),
            generator=generator,
        )


def build_module(config: DDPMConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task, or the weights of `pretrained` not the model.
    """
    build = build_pretrained if config.pretrained else build_model
    return DDPMModule(build(config, signature), signature, options)
