"""The network of Gilmer et al. 2017 (arXiv:1704.01212) that they call enn-s2s.

Section 5.1, edge network: the message from w to v is A(e) h_w, where a small network makes the matrix A(e) of the
edge's features. Section 3: a gated recurrent unit, the same in every step, takes the sum of a node's messages into its
state. Section 5.2, set2set: an LSTM looks by attention, some times, at all nodes of a graph, each of them a linear map
of state and features (layer of torch_geometric). Edges without features are all alike. The matrices are the same in
every step and made once, where torch_geometric's `NNConv`, which gives the same messages, makes them anew. Departure:
batch normalisation of what the readout gives, which at first is almost the same for all graphs.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.graph_convolutions import Set2Set
from forgeline_architectures.mpnn.config import MPNNConfig
from forgeline_architectures.signature import Signature


class MPNN(nn.Module):
    """Messages, readout, and a dense layer before the answer."""

    def __init__(self, config: MPNNConfig, signature: Signature) -> None:
        super().__init__()
        width, told = config.hidden, signature.inputs.get("edge_features")
        self.steps = config.steps
        self.dropout = config.dropout
        self.embedding = nn.Linear(signature.inputs["features"].shape[0], width)
        self.matrices = nn.Sequential(
            nn.Linear(1 if told is None else told.shape[0], config.edge_hidden),
            nn.ReLU(),
            nn.Linear(config.edge_hidden, width * width),
        )
        self.message_bias = nn.Parameter(torch.zeros(width))
        self.update = nn.GRUCell(width, width)
        self.projection = nn.Linear(width + self.embedding.in_features, width)
        self.readout = Set2Set(width, processing_steps=config.readout_steps)
        self.norm = nn.BatchNorm1d(2 * width)
        self.dense = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, signature.outputs[0])

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "graphs classes"]:
        """Logits of the graphs `seeds` [b]; `members` [n], ascending, tell the graph of each node."""
        logits: Tensor = self.head(F.dropout(self.penultimate(batch), self.dropout, self.training))
        return logits

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "graphs width"]:
        """A vector for each of the graphs `seeds`."""
        told = self.projection(torch.cat([self.states(batch), batch["features"]], dim=1))
        graphs = self.readout(told, batch["members"], dim_size=batch["seeds"].shape[0])
        vectors: Tensor = self.dense(self.norm(graphs)).relu()[batch["seeds"]]
        return vectors

    def states(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "nodes width"]:
        """What each node is after all messages."""
        origin, to = batch["edges"].t()
        matrices = self.matrices(batch.get("edge_features", torch.ones(origin.shape[0], 1, device=origin.device)))
        states: Tensor = self.embedding(batch["features"]).relu()
        matrices = matrices.unflatten(1, (states.shape[1], states.shape[1]))
        for _ in range(self.steps):
            # Half the time of a batched matrix product, whose matrices are too small for it.
            messages = (matrices * states[origin].unsqueeze(1)).sum(2)
            heard = torch.zeros_like(states).index_add(0, to, messages)
            states = self.update(heard + self.message_bias, states)
        return states


def build_model(config: MPNNConfig, signature: Signature) -> MPNN:
    """The model with fresh weights."""
    return MPNN(config, signature)
