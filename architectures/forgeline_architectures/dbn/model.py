"""Restricted Boltzmann machines on top of each other (Hinton, Osindero & Teh 2006), learnt one after the other.

- Every unit is binary. A grey value between 0 and 1 is taken as the probability of white, and so are the probabilities
  of a layer's hidden units, which are the data of the next layer (as in the authors' own code).
- Each picture is stretched so that its darkest pixel is 0 and its brightest 1: the units see the same, however the
  data are standardised, and weights learnt from pictures to generate fit those to classify.
- The gradient of `contrast` is that of contrastive divergence: both are the difference of the statistics <v h> of data
  and of what a few Gibbs steps make of them (Hinton 2002, equation 5), which is the gradient of a difference of free
  energies with the samples held constant.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.dbn.config import DBNConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options

STEPS = 1000  # Gibbs steps of a sample
LEAST_CONTRAST = 1e-6  # pixels of a picture that is the same all over are 0
FILTERS = 10  # rows and columns of the picture of weights


class RBM(nn.Module):
    """Visible and hidden units, with weights between the two kinds alone (Hinton 2002, section 5)."""

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden, visible)))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def up(self, visible: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """Probabilities that hidden units are 1."""
        return F.linear(visible, self.weight, self.hidden_bias).sigmoid()

    def down(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """Probabilities that visible units are 1."""
        return F.linear(hidden, self.weight.t(), self.visible_bias).sigmoid()

    def free_energy(self, visible: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        """Minus the logarithm of the sum over all hidden states of exp(-energy), in nats."""
        return -visible @ self.visible_bias - F.softplus(F.linear(visible, self.weight, self.hidden_bias)).sum(1)

    @torch.no_grad()
    def gibbs(
        self, visible: Float[Tensor, "batch visible"], steps: int, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "batch visible"], Float[Tensor, "batch visible"]]:
        """States of the visible units after some Gibbs steps, and the probabilities that they were drawn by."""
        states = probabilities = visible
        for _ in range(steps):
            hidden = torch.bernoulli(self.up(states), generator=generator)
            probabilities = self.down(hidden)
            states = torch.bernoulli(probabilities, generator=generator)
        return states, probabilities


class DeepBeliefNetwork(nn.Module):
    """A stack of machines; with classes to tell, a linear layer on top of their hidden units."""

    def __init__(self, config: DBNConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.shape = signature.inputs["image"].shape
        widths = (math.prod(self.shape), *config.widths)
        self.layers = nn.ModuleList(RBM(visible, hidden) for visible, hidden in pairwise(widths))
        self.head: nn.Linear | None = None
        if signature.task == "classification":
            self.head = nn.Linear(widths[-1], signature.outputs[0])
            for layer in self.machines:
                layer.visible_bias.requires_grad_(False)  # no answer depends on it

    @property
    def machines(self) -> list[RBM]:
        """The layers, from the lowest to the last."""
        return [cast(RBM, layer) for layer in self.layers]

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits [batch, classes]; without classes, each picture as it comes back from the last layer, from -1 to 1."""
        if self.head is None:
            return self.pictures(self.reconstructed(self.visible(batch), len(self.layers)))
        logits: Tensor = self.head(self.penultimate(batch))
        return logits

    def visible(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch pixels"]:
        """The pictures of a batch as probabilities of white."""
        pixels = batch["image"].flatten(1)
        low, high = pixels.amin(1, keepdim=True), pixels.amax(1, keepdim=True)
        return (pixels - low) / (high - low).clamp(min=LEAST_CONTRAST)

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch hidden"]:
        """Probabilities of the last layer's hidden units."""
        return self.below(self.visible(batch), len(self.layers))

    def below(self, visible: Float[Tensor, "batch pixels"], level: int) -> Float[Tensor, "batch units"]:
        """What the layer `level`, counted from 0, is shown: the probabilities of the hidden units under it."""
        for layer in self.machines[:level]:
            visible = layer.up(visible)
        return visible

    def reconstructed(self, visible: Float[Tensor, "batch pixels"], depth: int) -> Float[Tensor, "batch pixels"]:
        """Pictures sent up through the lowest `depth` layers and down again, by probabilities."""
        units = self.below(visible, depth)
        for layer in reversed(self.machines[:depth]):
            units = layer.down(units)
        return units

    def contrast(
        self, shown: Float[Tensor, "batch units"], start: Float[Tensor, "chains units"], level: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "chains units"]]:
        """Mean free energy of data above that of samples, and the states that the chains have come to.

        Args:
            shown: data of a layer.
            start: where the chains start: at the data (CD-k), or at where they were before (PCD-k, Tieleman 2008).
            level: of the layer, counted from 0.
        """
        layer = self.machines[level]
        states, made = layer.gibbs(start, self.config.gibbs_steps)
        # Probabilities in the place of states: the same in the mean, and less noise (Hinton 2010, section 3.2).
        return layer.free_energy(shown).mean() - layer.free_energy(made).mean(), states

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Gibbs chains of the last layer from random states, then one pass down; grey is the probability of white.

        Args:
            count: how many.
            condition: nothing.
            generator: random numbers, on the model's device.
            options: `steps`, the Gibbs steps of each chain.

        Raises:
            ValueError: an option is unknown, or `steps` is no whole number above 0.
        """
        check_options(options, {"steps": "a whole number above 0"})
        steps = options.get("steps", STEPS)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps is {steps!r}; allowed: a whole number above 0")
        *under, last = self.machines
        random = torch.rand(count, last.weight.shape[1], generator=generator, device=generator.device)
        states, units = last.gibbs(random.round(), steps, generator)
        for layer in reversed(under):
            units = layer.down(states)
            states = torch.bernoulli(units, generator=generator)
        return self.pictures(units)

    def illustrations(self, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights of the lowest layer's first hidden units, each scaled by its largest: what they look for."""
        weights = self.machines[0].weight[: FILTERS**2].detach()
        columns = min(FILTERS, len(weights))
        rows = len(weights) // columns
        scaled = weights / weights.abs().amax(1, keepdim=True)
        return {"weights": scaled[: rows * columns].reshape(rows, columns, *self.shape)}

    def pictures(self, white: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch channels height width"]:
        """Probabilities of white as pixels from -1 to 1."""
        made: Tensor = (2 * white - 1).unflatten(1, self.shape)
        return made


def build_model(config: DBNConfig, signature: Signature) -> DeepBeliefNetwork:
    """The model with fresh weights."""
    return DeepBeliefNetwork(config, signature)
