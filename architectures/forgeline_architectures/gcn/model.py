"""Graph convolutions (Kipf & Welling 2017, arXiv:1609.02907), layers of torch_geometric.

Equation 2: each layer is the mean over a node and its neighbours, weighted by 1 / sqrt(degree x degree), of a linear
map; equation 9 puts two of them together. Departures: a bias per layer, as torch_geometric has it and the paper's own
code has not. Degrees are those of the batch: of the whole graph, or of what was drawn from it.
"""

from __future__ import annotations

from torch.nn import functional as F

from forgeline_architectures.gcn.config import GCNConfig
from forgeline_architectures.graph_convolutions import GCNConv
from forgeline_architectures.node_network import NodeNetwork, tells_links
from forgeline_architectures.signature import Signature


def build_model(config: GCNConfig, signature: Signature) -> NodeNetwork:
    """The model with fresh weights."""
    last = config.hidden if tells_links(signature) else signature.outputs[0]
    widths = [signature.inputs["features"].shape[0], *[config.hidden] * (config.layers - 1), last]
    layers = [GCNConv(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    return NodeNetwork(layers, activation=F.relu, dropout=config.dropout)
