"""How StyleGAN2 learns: the non-saturating game, with R1 and the path length in some steps only, and styles mixed.

A penalty that is paid in every n-th step weighs n times as much there (section 3.1). The paper's code takes these steps
besides the others and slows Adam down for it; here they are part of the step that is due, and Adam stays as it is.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from forgeline_architectures.adversarial.learning import PairModule
from forgeline_architectures.adversarial.penalties import r1
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.stylegan2.config import StyleGAN2Config
from forgeline_architectures.stylegan2.model import KEPT, StyleGAN2, build_model
from forgeline_architectures.tasks.base import Batch, TaskModule

BETAS = (0.0, 0.99)
DECAY = 0.01  # of the mean path length, for each step that measures it (section 3.2)
SHRUNK = 2  # part of a batch that path lengths are measured on (appendix B)


class StyleGAN2Module(PairModule):
    """Karras et al. 2020.

    Attributes:
        mean_length: running mean of the path lengths, 0 before the first.
    """

    model: StyleGAN2
    mean_length: Tensor

    def __init__(self, model: StyleGAN2, signature: Signature, options: TrainingOptions) -> None:
        penalised = model.config.penalty > 0
        super().__init__(model, signature, options, game="non_saturating", betas=BETAS, gradient_penalty=penalised)
        self.register_buffer("mean_length", torch.zeros(()))
        self._step_now = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._step_now = self.trainer.global_step
        return super().training_step(batch, batch_idx)

    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        rows = len(self.learnt(batch))
        if not self.training:
            noise = self.model.noise(rows, device=self.device, generator=generator)
            return self.model.made(noise, {}, generator)
        return self.model.styled(self._styles(rows))

    def penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        config = self.model.config
        if self._step_now % config.penalty_every:
            return real.new_zeros(())
        steepness = r1(lambda samples: self.model.logits(samples, condition), real)
        self.parts["r1"] = steepness.detach()
        return config.penalty * config.penalty_every * steepness

    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        loss = super().generator_loss(batch, fake)
        config = self.model.config
        if not config.path_length or self._step_now % config.path_length_every:
            return loss
        return loss + config.path_length * config.path_length_every * self._path_length(max(1, len(fake) // SHRUNK))

    def _styles(self, rows: int) -> Float[Tensor, "rows layers style"]:
        """Styles to train with, a share of them mixed from the layer on that is drawn for each."""
        model, layers = self.model, self.model.generator.layers
        coarse, fine = (model.generator.mapping(model.noise(rows, device=self.device)) for _ in range(2))
        self._move(model.mean_style, coarse.detach().mean(0), 1 - KEPT)
        first = torch.randint(1, layers, (rows,), device=self.device)
        mixes = torch.rand(rows, device=self.device) < model.config.mixing
        return model.mixed(coarse, fine, torch.where(mixes, first, layers))

    def _path_length(self, rows: int) -> Float[Tensor, ""]:
        """Mean squared distance of the path lengths from their running mean, which it moves (equation 4)."""
        generator = self.model.generator
        styles = self._styles(rows)
        # Past torch.compile, which gives no second derivative.
        pictures = generator.forward(styles, generator.noises(styles))
        noise = torch.randn_like(pictures) / math.sqrt(pictures.shape[2] * pictures.shape[3])
        (slopes,) = torch.autograd.grad((pictures * noise).sum(), styles, create_graph=True)
        lengths = slopes.square().sum(2).mean(1).sqrt()
        self._move(self.mean_length, lengths.detach().mean(), DECAY)
        self.parts["path_length"] = self.mean_length.clone()
        return (lengths - self.mean_length).square().mean()

    @staticmethod
    def _move(mean: Tensor, newest: Tensor, share: float) -> None:
        """Bring a running mean nearer to what was found last, which has 16 bits under autocast."""
        mean.lerp_(newest.to(mean.dtype), share)


def build_module(config: StyleGAN2Config, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return StyleGAN2Module(build_model(config, signature), signature, options)
