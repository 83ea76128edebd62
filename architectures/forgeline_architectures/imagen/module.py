"""The Lightning module of the family: the denoising losses of both networks, on the same pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from forgeline_architectures.diffusion.learning import denoising_errors, partly_dropped
from forgeline_architectures.imagen.config import ImagenConfig
from forgeline_architectures.imagen.model import Imagen, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of
from forgeline_architectures.tasks.generation import GenerationModule


class ImagenModule(GenerationModule):
    """Squared errors of what both networks predict, meant over pixels, times and samples, and added up."""

    model: Imagen

    def loss(self, batch: Batch) -> Tensor:
        condition = self.condition(batch)
        asked = partly_dropped(condition, self.model.nothing(condition), self.model.config.unconditional)
        base, upsampler = self._errors(batch, asked["caption"], None)
        self.parts = {"base": base.detach().mean(), "upsampler": upsampler.detach().mean()}
        return (base + upsampler).mean()

    def evaluated(self, batch: Batch) -> Evaluated:
        base, upsampler = self._errors(batch, batch["caption"], self.validation_generator())
        return {
            "loss_sum": (base + upsampler).sum(),
            "count": count_of(len(base), base),
            "outputs": None,
            "target": None,
            "parts": {"base": base.sum(), "upsampler": upsampler.sum()},
        }

    def compile_model(self) -> None:
        self.model.base.compile()
        self.model.upsampler.compile()

    def _errors(self, batch: Batch, caption: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Of each sample's small and large picture, [batch] each."""
        model, pictures = self.model, self.learnt(batch)
        text, small = {"text": model.text.states(caption)}, model.smaller(pictures)
        base = denoising_errors(
            lambda noisy, time: model.predict(noisy, time, text), model.schedule, small, generator=generator
        )
        level = torch.randint(model.schedule.timesteps, (len(pictures),), generator=generator, device=pictures.device)
        told = {**text, **model.augmented(small, level, generator)}
        upsampler = denoising_errors(
            lambda noisy, time: model.enlarge(noisy, time, told), model.schedule, pictures, generator=generator
        )
        return base, upsampler


def build_module(config: ImagenConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return ImagenModule(build_model(config, signature), signature, options)
