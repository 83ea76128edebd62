"""The Lightning module of the family: the negative evidence lower bound, in nats per picture."""

from __future__ import annotations

from torch import Tensor

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of
from forgeline_architectures.tasks.generation import GenerationModule
from forgeline_architectures.vae.config import VAEConfig
from forgeline_architectures.vae.model import VAE, build_model


class VAEModule(GenerationModule):
    """Reconstruction and beta times the divergence; `negative_elbo` is their sum without beta."""

    model: VAE

    def __init__(self, model: VAE, signature: Signature, options: TrainingOptions, *, beta: float) -> None:
        super().__init__(model, signature, options)
        self.beta = beta

    def loss(self, batch: Batch) -> Tensor:
        bound = self.model.bound(batch)
        self.parts = {"reconstruction": bound.reconstruction.detach().mean(), "kl": bound.kl.detach().mean()}
        return (bound.reconstruction + self.beta * bound.kl).mean()

    def evaluated(self, batch: Batch) -> Evaluated:
        bound = self.model.bound(batch, self.validation_generator())
        reconstruction, kl = bound.reconstruction.sum(), bound.kl.sum()
        return {
            "loss_sum": reconstruction + self.beta * kl,
            "count": count_of(len(bound.kl), bound.kl),
            "outputs": None,
            "target": None,
            "parts": {"negative_elbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl},
        }

    def compile_model(self) -> None:
        self.model.encoder.compile()
        self.model.decoder.compile()


def build_module(config: VAEConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return VAEModule(build_model(config, signature), signature, options, beta=config.beta)
