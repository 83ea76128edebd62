"""Graph attention networks: each node reads its neighbours by attention."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="gat",
    family="Graph attention networks",
    help="Graph convolutions weighted by attention, for the class of each node of a graph, or for its links.",
    tasks=("classification",),
    inputs=("features", "edges", "seeds"),
    paper="Velickovic, Cucurull, Casanova, Romero, Lio & Bengio 2018, Graph Attention Networks, arXiv:1710.10903",
    when="Graphs in which some neighbours tell more than others; a little better than a GCN at a few times its cost.",
    cost="Nodes x inputs x heads x hidden + 2 x edges x heads x hidden multiplications per layer.",
    config="forgeline_architectures.gat.config:GATConfig",
    model="forgeline_architectures.gat.model:build_model",
    module="forgeline_architectures.gat.module:build_module",
)
