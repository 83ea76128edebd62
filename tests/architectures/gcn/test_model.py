"""Graph convolutions: the published size, the reference's answers, and what of the graph an answer depends on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.gcn import ARCHITECTURE
from forgeline_architectures.graph_convolutions import GCNConv

NODES, FEATURES, CLASSES = 12, 5, 3


def signature_of(features: int = FEATURES, classes: int = CLASSES) -> dict[str, Any]:
    return {
        "task": "classification",
        "inputs": {
            "features": {"shape": [features], "dtype": "float32"},
            "edges": {"shape": [2], "dtype": "int64"},
            "seeds": {"shape": [], "dtype": "int64"},
        },
        "outputs": [classes],
    }


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model({"name": "gcn", **config}, signature_of()).eval()


def graph(edges: Tensor | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(NODES, FEATURES, generator=generator),
        "edges": torch.randint(NODES, (30, 2), generator=generator) if edges is None else edges,
        "seeds": torch.arange(NODES),
    }


def test_parameters_of_the_published_model_for_cora() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "gcn"}, signature_of(1433, 7))
    assert sum(parameter.numel() for parameter in model.parameters()) == 23_063


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_answers_as_torch_geometric_does(layers: int) -> None:
    from torch_geometric.nn.models import GCN

    model = build(layers=layers, hidden=8)
    reference = GCN(FEATURES, 8, num_layers=layers, out_channels=CLASSES, act="relu").eval()
    with torch.no_grad():  # fresh biases are zeros, which would hide a bias that is not used
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    weights = {name.replace("layers.", "convs."): value for name, value in model.state_dict().items()}
    reference.load_state_dict(weights)
    batch = graph()
    torch.testing.assert_close(model(batch), reference(batch["features"], batch["edges"].t()), rtol=0, atol=1e-5)


def test_a_layer_is_equation_2_of_the_paper() -> None:
    model = build(layers=1)
    pairs = torch.tensor([[0, 1], [1, 2], [0, 3], [4, 0]])
    batch = graph(torch.cat([pairs, pairs.flip(1)]))
    adjacency = torch.eye(NODES)
    for source, to in batch["edges"].tolist():
        adjacency[to, source] = 1.0
    root = adjacency.sum(1).rsqrt()
    expected = (root[:, None] * adjacency * root) @ batch["features"] @ model.layers[0].lin.weight.t()
    torch.testing.assert_close(model(batch), expected + model.layers[0].bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layers", "reached"), [(1, {0, 1}), (2, {0, 1, 2}), (3, {0, 1, 2, 3})])
def test_messages_go_along_the_edges_one_per_layer(layers: int, reached: set[int]) -> None:
    model = build(layers=layers)
    batch = graph(torch.tensor([[3, 2], [2, 1], [1, 0], [0, 5]]))
    batch["seeds"] = torch.tensor([0])
    batch["features"].requires_grad_()
    model(batch).abs().sum().backward()
    gradient = batch["features"].grad
    assert gradient is not None
    # ReLU may cut a node off, but nothing may arrive that no path of this length brings.
    assert set(gradient.abs().sum(1).nonzero()[:, 0].tolist()) == reached


def test_seeds_choose_the_rows_in_their_order() -> None:
    model, batch = build(), graph()
    everything = model(batch)
    batch["seeds"] = torch.tensor([7, 0, 7])
    assert torch.equal(model(batch), everything[[7, 0, 7]])


def test_a_pair_is_told_by_the_product_of_its_nodes() -> None:
    signature = signature_of(classes=2)
    signature["inputs"]["seeds"]["shape"] = [2]
    torch.manual_seed(0)
    model, batch = ARCHITECTURE.build_model({"name": "gcn", "hidden": 8}, signature).eval(), graph()
    vectors = model.nodes(batch["features"], batch["edges"])
    assert vectors.shape == (NODES, 8)
    batch["seeds"] = torch.tensor([[3, 7], [7, 3], [1, 1]])
    found = model(batch)
    wanted = torch.stack([vectors[3] @ vectors[7], vectors[3] @ vectors[7], vectors[1] @ vectors[1]])
    torch.testing.assert_close(found.softmax(-1)[:, 1], wanted.sigmoid())


def test_dropout_is_of_training_only() -> None:
    model, batch = build(dropout=0.5), graph()
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_the_import_brings_no_language_models() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "import forgeline_architectures.graph_convolutions\n"
        "assert 'transformers' not in sys.modules\n"
        "import transformers\n"
    )
    subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", code], check=True)
    assert GCNConv.__module__.startswith("torch_geometric.")
