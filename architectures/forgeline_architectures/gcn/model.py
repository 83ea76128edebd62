"""Graph convolutions (Kipf & Welling 2017, arXiv:1609.02907), layers of torch_geometric.

Equation 2: each layer is the mean over a node and its neighbours, weighted by 1 / sqrt(degree x degree), of a linear
map; equation 9 puts two of them together. Departures: a bias per layer, as torch_geometric has it and the paper's own
code has not. Degrees are those of the batch: of the whole graph, or of what was drawn from it.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.gcn.config import GCNConfig
from forgeline_architectures.graph_convolutions import GCNConv
from forgeline_architectures.signature import Signature


class GCN(nn.Module):
    """Convolutions with ReLU between, dropout before each."""

    def __init__(self, config: GCNConfig, signature: Signature) -> None:
        super().__init__()
        widths = [
            signature.inputs["features"].shape[0],
            *[config.hidden] * (config.layers - 1),
            signature.outputs[0],
        ]
        self.dropout = config.dropout
        self.layers = nn.ModuleList(GCNConv(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "seeds classes"]:
        return self.nodes(batch["features"], batch["edges"])[batch["seeds"]]

    def nodes(self, features: Float[Tensor, "nodes inputs"], edges: Tensor) -> Float[Tensor, "nodes classes"]:
        """Logits of every node; `edges` [e, 2] hold where each comes from and where it goes to."""
        edge_index = edges.t()
        states = features
        for number, layer in enumerate(self.layers):
            states = F.relu(states) if number else states
            states = layer(F.dropout(states, self.dropout, self.training), edge_index)
        return states


def build_model(config: GCNConfig, signature: Signature) -> GCN:
    """The model with fresh weights."""
    return GCN(config, signature)
