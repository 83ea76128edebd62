"""A bundle of a table with its reference statistics, and rows like those that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from forgeline import plugins
from forgeline.bundle import Bundle, Reference
from forgeline.bundle.embedding import Projections
from forgeline.preprocessing import ClassTarget, TablePreprocessing

Customers = Callable[[int, int], pd.DataFrame]


@pytest.fixture(scope="session")
def customers() -> Customers:
    """Draws rows: seed, number of rows -> numbers with and without gaps, categories, and a class."""

    def draw(seed: int, rows: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame(
            {
                "age": rng.integers(18, 90, rows),
                "usage": rng.gamma(2.0, 10.0, rows),
                "income": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(3e4, 5e3, rows)),
                "plan": rng.choice(["basic", "pro", "team"], rows, p=[0.6, 0.3, 0.1]),
                "churned": rng.choice(["no", "yes"], rows),
            }
        )

    return draw


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, customers: Customers) -> Bundle:
    """Of a fresh network and 500 rows; what it predicts is described as for 100 others, as after a training."""
    train, val = customers(0, 500), customers(1, 100)
    preprocessing = TablePreprocessing.fit(
        train,
        numeric=["age", "usage", "income"],
        categorical=["plan"],
        target=ClassTarget.fit("churned", train["churned"]),
    )
    saved: dict[str, Any] = {
        "architecture": {"name": "mlp", "hidden": [8]},
        "signature": {
            "task": "classification",
            "inputs": {
                "numeric": {"shape": [preprocessing.width], "dtype": "float32"},
                "categorical": {"shape": [1], "dtype": "int64"},
            },
            "cardinalities": list(preprocessing.cardinalities),
            "outputs": [2],
        },
        "preprocessing": preprocessing,
    }
    folder = tmp_path_factory.mktemp("customers")
    bare = Bundle.save(folder / "bare", model_state=_weights(saved), **saved)
    with Projections(bare.model) as seen:
        outputs = bare.outputs(preprocessing.encode(val))
    reference = Reference.of(preprocessing, [preprocessing.encode(train)], outputs, embedding=seen.values)
    return Bundle.save(folder / "bundle", model_state=bare.model.state_dict(), reference=reference, **saved)


@pytest.fixture(scope="session")
def bare_bundle(bundle: Bundle) -> Path:
    """Folder of the same model without reference statistics."""
    return bundle.folder.with_name("bare")


def _weights(saved: dict[str, Any]) -> dict[str, Any]:
    import torch

    found = cast("Any", plugins.find(plugins.ARCHITECTURES, "mlp", key="architecture.name"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = found.build_model(saved["architecture"], saved["signature"])
    state: dict[str, Any] = model.state_dict()
    return state
