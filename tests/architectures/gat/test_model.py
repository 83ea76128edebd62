"""Graph attention: the published size, and the reference's answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.gat import ARCHITECTURE

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
    model = ARCHITECTURE.build_model({"name": "gat", **config}, signature_of()).eval()
    with torch.no_grad():  # fresh biases are zeros, which would hide a bias that is not used
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    return model


def graph() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(NODES, FEATURES, generator=generator),
        "edges": torch.randint(NODES, (30, 2), generator=generator),
        "seeds": torch.arange(NODES),
    }


def test_parameters_of_the_published_model_for_cora() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "gat"}, signature_of(1433, 7))
    assert sum(parameter.numel() for parameter in model.parameters()) == 92_373


@pytest.mark.parametrize(("layers", "slope"), [(1, 0.2), (2, 0.2), (3, 0.4)])
def test_answers_as_torch_geometric_does(layers: int, slope: float) -> None:
    from torch_geometric.nn.models import GAT

    # The reference divides a layer's width among its heads, and gives the last layer as many as the others.
    model = build(layers=layers, hidden=4, heads=2, output_heads=2, negative_slope=slope)
    reference = GAT(
        FEATURES, 8, num_layers=layers, out_channels=CLASSES, act="elu", heads=2, negative_slope=slope
    ).eval()
    reference.load_state_dict({name.replace("layers.", "convs."): value for name, value in model.state_dict().items()})
    batch = graph()
    torch.testing.assert_close(model(batch), reference(batch["features"], batch["edges"].t()), rtol=0, atol=1e-5)


def test_a_head_is_equations_1_to_4_of_the_paper() -> None:
    model, batch = build(layers=1), graph()
    [layer] = model.layers
    pairs = {(source, to) for source, to in batch["edges"].tolist() if source != to}
    batch["edges"] = torch.tensor(sorted(pairs))
    states = batch["features"] @ layer.lin.weight.t()
    scores = torch.full((NODES, NODES), -torch.inf)
    for source, to in [*pairs, *((node, node) for node in range(NODES))]:
        score = states[source] @ layer.att_src[0, 0] + states[to] @ layer.att_dst[0, 0]
        scores[to, source] = torch.nn.functional.leaky_relu(score, 0.2)
    torch.testing.assert_close(model(batch), scores.softmax(1) @ states + layer.bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize("which", ["dropout", "attention_dropout"])
def test_each_dropout_is_of_training_only(which: str) -> None:
    off = {"dropout": 0.0, "attention_dropout": 0.0}
    model, batch = build(**{**off, which: 0.5}), graph()
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))
    steady = build(**off).train()
    assert torch.equal(steady(batch), steady(batch))
