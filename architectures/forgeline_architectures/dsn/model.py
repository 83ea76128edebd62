"""The stack of Deng & Yu 2011 (DCN), named DSN in Deng, Yu & Platt 2012 (ICASSP).

Departures: all modules learn at once, each from the estimates that those below it give at that step, and no gradient
passes from one module to another; the papers finish a module before the next. A column of ones gives each fit a bias.
Upper weights are solved from sums over the newest batches of all workers; with `memory: 0` and the whole training
split as the batch, they are the papers' fit.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from forgeline_architectures.dsn.config import DSNConfig
from forgeline_architectures.signature import Signature

INPUTS = ("numeric", "image", "series")
# Least squares on 0/1 targets estimates probabilities, but may leave [0, 1]; the logarithm needs them above 0.
LEAST_PROBABILITY = 1e-3


class StackedModule(nn.Module):
    """One hidden layer, and a linear fit on it.

    Attributes:
        lower: weights that are learnt by gradient.
        upper: weights [hidden + 1, outputs] that are solved.
    """

    upper: Tensor
    gram: Tensor
    cross: Tensor
    mass: Tensor

    def __init__(self, width: int, outputs: int, config: DSNConfig) -> None:
        super().__init__()
        self.ridge = config.ridge
        self.memory = config.memory
        self.lower = nn.Linear(width, config.hidden)
        units = config.hidden + 1
        self.register_buffer("upper", torch.zeros(units, outputs))
        # The sums that `upper` was solved from: a resumed run goes on with them.
        self.register_buffer("gram", torch.zeros(units, units))
        self.register_buffer("cross", torch.zeros(units, outputs))
        self.register_buffer("mass", torch.zeros(1))

    def units(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch units"]:
        """The hidden layer, and a one for the bias of the fit."""
        hidden = self.lower(x).sigmoid()
        return torch.cat([hidden, hidden.new_ones(hidden.shape[0], 1)], dim=1)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch outputs"]:
        return self.units(x) @ self.upper

    @torch.no_grad()
    def solve(
        self,
        units: Float[Tensor, "batch units"],
        target: Float[Tensor, "batch outputs"],
        weight: Float[Tensor, " batch"],
    ) -> None:
        """Fit the upper weights to the batches of all workers: U = (H H^T + r I)^-1 H T^T (equation 2), weighted."""
        weighted = units.T * weight
        sums = [weighted @ units, weighted @ target, weight.sum().reshape(1)]
        for kept, added in zip((self.gram, self.cross, self.mass), sums, strict=True):
            if distributed.is_available() and distributed.is_initialized():
                distributed.all_reduce(added)
            kept.mul_(self.memory).add_(added)
        # Sigmoid units are much alike: in single precision the equations would lose digits.
        gram = (self.gram / self.mass).double()
        gram.diagonal().add_(self.ridge)
        solved = torch.cholesky_solve((self.cross / self.mass).double(), torch.linalg.cholesky(gram))
        self.upper.copy_(solved)


class DeepStackingNetwork(nn.Module):
    """Modules over the flat input, joined by the estimates of all modules below."""

    def __init__(self, config: DSNConfig, signature: Signature) -> None:
        super().__init__()
        self.inputs = [name for name in INPUTS if name in signature.inputs]
        width = sum(math.prod(signature.inputs[name].shape) for name in self.inputs)
        (classes,) = signature.outputs
        self.stack = nn.ModuleList(
            StackedModule(width + index * classes, classes, config) for index in range(config.modules)
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
        """Logarithms of the last module's estimates of the classes' probabilities, floored."""
        return self.estimates(batch)[-1].clamp(min=LEAST_PROBABILITY).log()

    def estimates(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """What each module estimates [batch, classes], from the lowest to the last."""
        x = self.joined(batch)
        found: list[Tensor] = []
        for module in self.stack:
            found.append(module(torch.cat([x, *found], dim=1)))
        return found

    def fit(
        self,
        batch: Mapping[str, Tensor],
        target: Float[Tensor, "batch classes"],
        weight: Float[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Solve every upper layer, and give the squared error, summed over modules, that the lower weights descend.

        The solved weights are constants of the gradient: at the minimum of the penalised error its derivative with
        respect to them is zero, so that they add nothing to the total derivative with respect to the lower ones.
        """
        x = self.joined(batch)
        found: list[Tensor] = []
        loss = x.new_zeros(())
        for module in self.stack:
            assert isinstance(module, StackedModule)
            units = module.units(torch.cat([x, *found], dim=1))
            module.solve(units.detach(), target, weight)
            # A copy: the next step solves in place.
            estimate = units @ module.upper.clone()
            loss = loss + (weight * (estimate - target).square().sum(1)).mean()
            found.append(estimate.detach())
        return loss

    def joined(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """All inputs of a batch as one vector per sample."""
        return torch.cat([batch[name].flatten(1) for name in self.inputs], dim=1)


def build_model(config: DSNConfig, signature: Signature) -> DeepStackingNetwork:
    """The model with fresh weights; its upper weights are zeros until the first fit."""
    return DeepStackingNetwork(config, signature)
