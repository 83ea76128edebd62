"""The perceptron."""

from __future__ import annotations

import pytest
import torch

from forgeline_architectures.mlp import ARCHITECTURE
from forgeline_architectures.mlp.model import embedding_width

INPUTS = {"numeric": {"shape": [3], "dtype": "float32"}, "categorical": {"shape": [1], "dtype": "int64"}}
SIGNATURE = {"task": "regression", "inputs": INPUTS, "outputs": [1], "cardinalities": [4]}


def test_every_input_matters() -> None:
    model = ARCHITECTURE.build_model({"name": "mlp"}, SIGNATURE)
    batch = {"numeric": torch.zeros(2, 3), "categorical": torch.zeros(2, 1, dtype=torch.int64)}
    base = model(batch)
    assert not torch.equal(base, model({**batch, "numeric": torch.ones(2, 3)}))
    assert not torch.equal(base, model({**batch, "categorical": torch.ones(2, 1, dtype=torch.int64)}))


def test_without_hidden_layers_it_is_linear() -> None:
    signature = {"task": "regression", "inputs": {"numeric": INPUTS["numeric"]}, "outputs": [1]}
    model = ARCHITECTURE.build_model({"name": "mlp", "hidden": []}, signature)
    x, y = torch.randn(2, 4, 3)
    together = model({"numeric": x + y}) + model({"numeric": torch.zeros(4, 3)})
    torch.testing.assert_close(together, model({"numeric": x}) + model({"numeric": y}))


def test_residual_needs_one_width() -> None:
    with pytest.raises(ValueError, match=r"architecture\.hidden or architecture\.residual"):
        ARCHITECTURE.check({"name": "mlp", "hidden": [8, 4], "residual": True}, SIGNATURE)


def test_embedding_width_grows_slowly() -> None:
    assert [embedding_width(values) for values in (2, 10, 1000, 10**6)] == [2, 6, 77, 600]
