"""Graph attention (Velickovic et al. 2018, arXiv:1710.10903), layers of torch_geometric.

Equations 1 to 4: a head weighs a node's neighbours, and the node itself, by a softmax over scores of linear maps of
both. Heads of hidden layers stand side by side (equation 5), those of the last are averaged (equation 6).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.gat.config import GATConfig
from forgeline_architectures.graph_convolutions import GATConv
from forgeline_architectures.signature import Signature


class GAT(nn.Module):
    """Attention layers with ELU between, dropout before each."""

    def __init__(self, config: GATConfig, signature: Signature) -> None:
        super().__init__()
        self.dropout = config.dropout
        shared = {"negative_slope": config.negative_slope, "dropout": config.attention_dropout}
        width = signature.inputs["features"].shape[0]
        self.layers = nn.ModuleList()
        for _ in range(config.layers - 1):
            self.layers.append(GATConv(width, config.hidden, heads=config.heads, **shared))
            width = config.hidden * config.heads
        self.layers.append(GATConv(width, signature.outputs[0], heads=config.output_heads, concat=False, **shared))

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "seeds classes"]:
        return self.nodes(batch["features"], batch["edges"])[batch["seeds"]]

    def nodes(self, features: Float[Tensor, "nodes inputs"], edges: Tensor) -> Float[Tensor, "nodes classes"]:
        """Logits of every node; `edges` [e, 2] hold where each comes from and where it goes to."""
        edge_index = edges.t()
        states = features
        for number, layer in enumerate(self.layers):
            states = F.elu(states) if number else states
            states = layer(F.dropout(states, self.dropout, self.training), edge_index)
        return states


def build_model(config: GATConfig, signature: Signature) -> GAT:
    """The model with fresh weights."""
    return GAT(config, signature)
