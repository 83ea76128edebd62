"""Message passing: torch_geometric's messages, what of a graph an answer depends on, and graphs beside each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.mpnn import ARCHITECTURE

FEATURES, KINDS, CLASSES = 2, 3, 4


def signature_of(kinds: int = KINDS) -> dict[str, Any]:
    told = {"edge_features": {"shape": [kinds], "dtype": "float32"}} if kinds else {}
    return {
        "task": "classification",
        "inputs": {
            "features": {"shape": [FEATURES], "dtype": "float32"},
            "edges": {"shape": [2], "dtype": "int64"},
            "members": {"shape": [], "dtype": "int64"},
            "seeds": {"shape": [], "dtype": "int64"},
            **told,
        },
        "outputs": [CLASSES],
    }


def build(kinds: int = KINDS, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "mpnn", "hidden": 6, "edge_hidden": 5, **config}
    return ARCHITECTURE.build_model(settings, signature_of(kinds)).eval()


def path(nodes: int = 5, seed: int = 1) -> dict[str, Tensor]:
    """One graph: nodes in a row, with an edge from each to the next."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.arange(nodes)
    return {
        "features": torch.randn(nodes, FEATURES, generator=generator),
        "edges": torch.stack([ends[:-1], ends[1:]], dim=1),
        "edge_features": torch.randn(nodes - 1, KINDS, generator=generator),
        "members": torch.zeros(nodes, dtype=torch.int64),
        "seeds": torch.tensor([0]),
    }


def test_messages_are_those_of_torch_geometric() -> None:
    from torch_geometric.nn import NNConv

    model, batch = build(steps=1), path()
    batch["edges"] = torch.tensor([[0, 1], [2, 1], [4, 1], [1, 3]])
    reference = NNConv(6, 6, torch.nn.Sequential(*model.matrices), aggr="add", root_weight=False)
    with torch.no_grad():
        model.message_bias.normal_()
        reference.bias.copy_(model.message_bias)
    # It multiplies rows from the left, where the paper has columns on the right.
    wide = lambda kinds: model.matrices(kinds).unflatten(1, (6, 6)).transpose(1, 2).flatten(1)  # noqa: E731
    reference.nn = type("Turned", (torch.nn.Module,), {"forward": lambda self, kinds: wide(kinds)})()
    start = model.embedding(batch["features"]).relu()
    heard = reference(start, batch["edges"].t(), batch["edge_features"])
    torch.testing.assert_close(model.states(batch), model.update(heard, start), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("steps", "reached"), [(1, {3, 4}), (2, {2, 3, 4}), (4, {0, 1, 2, 3, 4})])
def test_a_node_hears_of_nodes_as_many_edges_away_as_there_are_steps(steps: int, reached: set[int]) -> None:
    model, batch = build(steps=steps), path()
    with torch.no_grad():
        model.embedding.bias.fill_(3.0)  # no unit is cut off
    batch["features"].requires_grad_()
    model.states(batch)[4].sum().backward()
    gradient = batch["features"].grad
    assert gradient is not None and set(gradient.abs().sum(1).nonzero()[:, 0].tolist()) == reached


def together(*graphs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Graphs as parts of one."""
    starts = [0, *torch.tensor([len(graph["features"]) for graph in graphs]).cumsum(0).tolist()]
    shifted = [graph["edges"] + start for graph, start in zip(graphs, starts, strict=False)]
    members = [torch.full((len(graph["features"]),), number) for number, graph in enumerate(graphs)]
    return {
        "features": torch.cat([graph["features"] for graph in graphs]),
        "edges": torch.cat(shifted),
        "edge_features": torch.cat([graph["edge_features"] for graph in graphs]),
        "members": torch.cat(members),
        "seeds": torch.arange(len(graphs)),
    }


@torch.no_grad()
def test_graphs_do_not_see_each_other() -> None:
    model, graphs = build(), [path(5, 1), path(3, 2), path(1, 3)]
    found = model(together(*graphs))
    torch.testing.assert_close(found, torch.cat([model(graph) for graph in graphs]), rtol=0, atol=1e-6)
    assert found.shape == (3, CLASSES)


@torch.no_grad()
def test_the_numbering_of_nodes_says_nothing() -> None:
    model, batch = build(), path()
    order = torch.tensor([3, 0, 4, 2, 1])
    place = order.argsort()
    turned = {**batch, "features": batch["features"][order], "edges": place[batch["edges"]]}
    torch.testing.assert_close(model(turned), model(batch), rtol=0, atol=1e-6)


@torch.no_grad()
def test_it_matters_what_an_edge_is() -> None:
    model, batch = build(), path()
    assert not torch.allclose(model(batch), model({**batch, "edge_features": batch["edge_features"].flip(0)}))
    plain = build(kinds=0)
    del batch["edge_features"]
    assert plain(batch).shape == (1, CLASSES) and plain.matrices[0].in_features == 1


def test_parameters_of_the_default() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "mpnn"}, signature_of())
    edges = (KINDS + 1) * 128 + 129 * 64 * 64 + 64
    recurrent = 3 * 64 * (64 + 64 + 2) + 4 * 64 * (128 + 64 + 2)  # the node's unit, and the readout's LSTM
    dense = (FEATURES + 1) * 64 + (64 + FEATURES + 1) * 64 + 2 * 128 + 129 * 64 + 65 * CLASSES
    assert sum(parameter.numel() for parameter in model.parameters()) == edges + recurrent + dense
