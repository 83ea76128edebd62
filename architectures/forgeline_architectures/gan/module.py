"""The losses of the two players, and the penalties on the discriminator's gradients."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from forgeline_architectures.gan.config import GANConfig
from forgeline_architectures.gan.model import GAN, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.adversarial import AdversarialModule
from forgeline_architectures.tasks.base import Batch, TaskModule


class GANModule(AdversarialModule):
    """Non-saturating: Goodfellow et al. 2014, section 3. Wasserstein: Gulrajani et al. 2017, equation 3."""

    model: GAN

    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        rows = len(self.learnt(batch))
        noise = torch.randn(rows, self.model.config.latent, generator=generator, device=self.device)
        return self.model.made(noise, self.condition(batch))

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        real, condition, config = self.learnt(batch), self.condition(batch), self.model.config
        on_real, on_fake = self.model.logits(real, condition), self.model.logits(fake, condition)
        penalised = self.training and config.penalty_weight > 0
        if config.name == "gan":
            loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
            return loss + config.penalty_weight * r1(self.model, real, condition) if penalised else loss
        loss = on_fake.mean() - on_real.mean()
        return loss + config.penalty_weight * away_from_one(self.model, real, fake, condition) if penalised else loss

    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        on_fake = self.model.logits(fake, self.condition(batch))
        return F.softplus(-on_fake).mean() if self.model.config.name == "gan" else -on_fake.mean()


def r1(model: GAN, real: Tensor, condition: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Half the mean squared norm of the gradient at data: Mescheder et al. 2018 (arXiv:1801.04406, equation 9)."""
    return gradients(model, real, condition).square().sum(1).mean() / 2


def away_from_one(model: GAN, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Mean squared distance from 1 of the gradient's norm, anywhere between a sample and a datum."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    between = torch.lerp(real, fake.detach(), share)
    norm: Tensor = gradients(model, between, condition).norm(dim=1)
    return (norm - 1).square().mean()


def gradients(model: GAN, samples: Tensor, condition: Mapping[str, Tensor]) -> Float[Tensor, "batch size"]:
    """Of the discriminator's answer by its input, differentiable by the weights."""
    samples = samples.detach().requires_grad_()
    (found,) = torch.autograd.grad(model.logits(samples, condition).sum(), samples, create_graph=True)
    return found.flatten(1)


def build_module(config: GANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return GANModule(
        build_model(config, signature),
        signature,
        options,
        discriminator_steps=config.batches_per_step,
        betas=config.betas,
        gradient_penalty=config.penalty_weight > 0,
    )
