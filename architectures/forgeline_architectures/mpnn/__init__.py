"""Message passing neural networks: one answer for a whole graph."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="mpnn",
    family="Message passing neural networks",
    help="Messages along edges, weighed by what each edge is, and a readout of all nodes: the class of a whole graph.",
    tasks=("classification",),
    inputs=("features", "edges", "edge_features", "members", "seeds"),
    paper="Gilmer, Schoenholz, Riley, Vinyals & Dahl 2017, Neural Message Passing for Quantum Chemistry, "
    "arXiv:1704.01212",
    when="Many small graphs with a label each, whose edges are of different kinds: molecules, sketches, programs.",
    cost="Edges x hidden^2 multiplications per step, and as many numbers in memory: a matrix for each edge.",
    config="forgeline_architectures.mpnn.config:MPNNConfig",
    model="forgeline_architectures.mpnn.model:build_model",
    module="forgeline_architectures.mpnn.module:build_module",
)
