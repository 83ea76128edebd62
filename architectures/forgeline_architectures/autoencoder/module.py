"""The Lightning module of the family: the squared error, and what holds a sparse code to its activity."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from forgeline_architectures.autoencoder.config import AutoencoderConfig
from forgeline_architectures.autoencoder.model import Autoencoder, build_model
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, TaskModule
from forgeline_architectures.tasks.reconstruction import ReconstructionModule, squared_errors

_LEAST = 1e-6  # keeps the logarithms finite where a unit is never or always active


class SparseModule(ReconstructionModule):
    """The error and a weight times the divergence of the code's activity; validation measures the error alone."""

    model: Autoencoder
    called = ("encode", "decode", "errors")

    def __init__(
        self, model: Autoencoder, signature: Signature, options: TrainingOptions, *, sparsity: float, weight: float
    ) -> None:
        super().__init__(model, signature, options)
        self.sparsity = sparsity
        self.weight = weight

    def loss(self, batch: Batch) -> Tensor:
        code = self.model.encode(batch["image"])
        error = squared_errors(self.model.decode(code), batch)[:, 0].mean()
        divergence = activity_divergence(code, self.sparsity)
        self.parts = {"activity": code.detach().mean(), "sparsity_penalty": divergence.detach()}
        return error + self.weight * divergence


def activity_divergence(code: Float[Tensor, "batch latent"], wanted: float) -> Float[Tensor, ""]:
    """Divergence of a coin of the wanted activity from one of each unit's mean over the batch, in nats, summed.

    Ng 2011, CS294A lecture notes, section 3; there the mean is over all of train, here over the batch.
    """
    mean = code.float().mean(0).clamp(_LEAST, 1 - _LEAST)
    active, quiet = wanted * (wanted / mean).log(), (1 - wanted) * ((1 - wanted) / (1 - mean)).log()
    return (active + quiet).sum()


def build_module(config: AutoencoderConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    model = build_model(config, signature)
    if config.sparsity is None:
        return ReconstructionModule(model, signature, options)
    return SparseModule(model, signature, options, sparsity=config.sparsity, weight=config.sparsity_weight)
