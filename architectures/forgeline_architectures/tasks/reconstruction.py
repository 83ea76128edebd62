"""Reconstruction: a model gives back what it is shown, through less than it is shown, or out of noise."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from typing import ClassVar, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of
from forgeline_architectures.tasks.regression import refuse_class_options


class Reconstructor(Protocol):
    """A model whose answer to a sample is how badly it gives it back."""

    def errors(self, batch: Batch) -> Float[Tensor, "batch 2"]:
        """`squared_errors` of the model's reconstructions."""


def squared_errors(made: Float[Tensor, "batch channels height width"], batch: Batch) -> Float[Tensor, "batch 2"]:
    """Mean squared error of each reconstruction, and of what the model was shown; black is 0, the brightest value 1.

    Args:
        made: reconstructions of pictures from -1 to 1.
        batch: `image`, what was shown, and `clean`, what is wanted, where they differ.
    """
    wanted = batch.get("clean", batch["image"])
    # From -1 to 1 is twice as far as from 0 to 1.
    errors = [((each.float() - wanted) / 2).square().flatten(1).mean(1) for each in (made, batch["image"])]
    return torch.stack(errors, dim=1)


class ReconstructionModule(TaskModule):
    """Squared error, meant over pixels and samples; label smoothing and class weights are refused."""

    called: ClassVar[tuple[str, ...]] = ("errors",)

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        refuse_class_options(signature, options)

    def loss(self, batch: Batch) -> Tensor:
        return cast(Reconstructor, self.model).errors(batch)[:, 0].mean()

    def evaluated(self, batch: Batch) -> Evaluated:
        errors = cast(Reconstructor, self.model).errors(batch)
        return {
            "loss_sum": errors[:, 0].sum(),
            "count": count_of(len(errors), errors),
            "outputs": errors,
            "target": batch["target"],
        }
