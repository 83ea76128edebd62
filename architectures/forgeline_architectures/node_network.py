"""What the graph families share: convolutions one after the other, answered for the nodes that a batch asks for.

Asked for pairs of nodes, the network gives each node a vector, and the product of two tells whether they are linked:
the non-probabilistic graph autoencoder of Kipf & Welling 2016 (arXiv:1611.07308, section 2).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.signature import Signature


class NodeNetwork(nn.Module):
    """Layers over nodes and edges with a non-linearity between, dropout before each.

    Args:
        layers: take the states of all nodes and their edges [2, e].
        activation: the non-linearity.
        dropout: share of each layer's inputs that is zeroed while training.
    """

    def __init__(self, layers: Iterable[nn.Module], *, activation: Callable[[Tensor], Tensor], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation
        self.dropout = dropout

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "seeds classes"]:
        """Logits of the nodes `seeds` [b], or of no link and a link for the pairs `seeds` [b, 2]."""
        asked = self.nodes(batch["features"], batch["edges"])[batch["seeds"]]
        if batch["seeds"].ndim == 1:
            return asked
        linked = asked.prod(1).sum(1)
        return torch.stack([torch.zeros_like(linked), linked], dim=1)

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "seeds width"]:
        """States of the nodes `seeds` [b] that the last layer reads; of pairs [b, 2], the products that tell a link."""
        features, edges, seeds = batch["features"], batch["edges"], batch["seeds"]
        if seeds.ndim == 1:
            return self.states(features, edges)[seeds]
        return self.nodes(features, edges)[seeds].prod(1)

    def nodes(self, features: Float[Tensor, "nodes inputs"], edges: Tensor) -> Float[Tensor, "nodes classes"]:
        """Logits or the vector of every node; `edges` [e, 2] hold where each comes from and where it goes to."""
        states = self.states(features, edges)
        last: Tensor = self.layers[-1](F.dropout(states, self.dropout, self.training), edges.t())
        return last

    def states(self, features: Float[Tensor, "nodes inputs"], edges: Tensor) -> Float[Tensor, "nodes width"]:
        """What every node is before the last layer."""
        states = features
        for layer in self.layers[:-1]:
            states = self.activation(layer(F.dropout(states, self.dropout, self.training), edges.t()))
        return states


def tells_links(signature: Signature) -> bool:
    """Whether the network is asked about pairs of nodes."""
    return signature.inputs["seeds"].shape == (2,)
