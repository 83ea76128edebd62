"""Graph convolutional networks: each node reads the weighted mean of its neighbours."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="gcn",
    family="Graph convolutional networks",
    help="Graph convolutions for the class of each node of a graph, or for its links.",
    tasks=("classification",),
    inputs=("features", "edges", "seeds"),
    paper="Kipf & Welling 2017, Semi-Supervised Classification with Graph Convolutional Networks, arXiv:1609.02907",
    when="Nodes that are linked to nodes of the same class, with few labels; the first thing to try on a graph.",
    cost="Nodes x inputs x hidden + edges x hidden multiplications per layer; the whole graph goes through at once.",
    config="forgeline_architectures.gcn.config:GCNConfig",
    model="forgeline_architectures.gcn.model:build_model",
    module="forgeline_architectures.gcn.module:build_module",
)
