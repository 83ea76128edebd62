"""Graph attention (Velickovic et al. 2018, arXiv:1710.10903), layers of torch_geometric.

Equations 1 to 4: a head weighs a node's neighbours, and the node itself, by a softmax over scores of linear maps of
both. Heads of hidden layers stand side by side (equation 5), those of the last are averaged (equation 6).
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from forgeline_architectures.gat.config import GATConfig
from forgeline_architectures.graph_convolutions import GATConv
from forgeline_architectures.node_network import NodeNetwork, tells_links
from forgeline_architectures.signature import Signature


def build_model(config: GATConfig, signature: Signature) -> NodeNetwork:
    """The model with fresh weights."""
    shared = {"negative_slope": config.negative_slope, "dropout": config.attention_dropout}
    width = signature.inputs["features"].shape[0]
    layers: list[nn.Module] = []
    for _ in range(config.layers - 1):
        layers.append(GATConv(width, config.hidden, heads=config.heads, **shared))
        width = config.hidden * config.heads
    last = config.hidden * config.heads if tells_links(signature) else signature.outputs[0]
    layers.append(GATConv(width, last, heads=config.output_heads, concat=False, **shared))
    return NodeNetwork(layers, activation=F.elu, dropout=config.dropout)
