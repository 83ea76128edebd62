"""Small bundles of every modality, with fresh weights: what is tested is the way through them, not what they know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline import plugins
from forgeline.bundle import Bundle, Reference
from forgeline.preprocessing import (
    ClassTarget,
    GraphPreprocessing,
    ImagePreprocessing,
    Preprocessing,
    ScaledTarget,
    SeriesPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from forgeline.preprocessing.tokenization import CharacterTokenizer

MakeBundle = Callable[..., Bundle]


def build(
    folder: Path,
    architecture: Mapping[str, Any],
    signature: Mapping[str, Any],
    preprocessing: Preprocessing,
    **optional: Any,
) -> Bundle:
    """A bundle of a fresh network, drawn with a fixed seed."""
    import torch

    descriptor: Any = plugins.find(plugins.ARCHITECTURES, architecture["name"], key="architecture.name")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = descriptor.build_model(architecture, signature)
    return Bundle.save(
        folder,
        model_state=model.state_dict(),
        architecture=architecture,
        signature=signature,
        preprocessing=preprocessing,
        **optional,
    )


@pytest.fixture(scope="session")
def customers() -> pd.DataFrame:
    """Numbers with and without gaps, whole numbers, categories, and a class."""
    rng = np.random.default_rng(0)
    rows = 200
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "usage": rng.gamma(2.0, 10.0, rows),
            "income": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(3e4, 5e3, rows)),
            "plan": rng.choice(["basic", "pro", "team"], rows),
            "region": rng.integers(1, 4, rows),
        }
    )
    frame["churned"] = np.where(frame["usage"] + rng.normal(0, 5, rows) < 15, "yes", "no")
    return frame


@pytest.fixture(scope="session")
def table_bundle(tmp_path_factory: pytest.TempPathFactory, customers: pd.DataFrame) -> Bundle:
    preprocessing = TablePreprocessing.fit(
        customers,
        numeric=["age", "usage", "income"],
        categorical=["plan", "region"],
        target=ClassTarget.fit("churned", customers["churned"]),
    )
    signature = {
        "task": "classification",
        "inputs": {
            "numeric": {"shape": [preprocessing.width], "dtype": "float32"},
            "categorical": {"shape": [2], "dtype": "int64"},
        },
        "cardinalities": list(preprocessing.cardinalities),
        "outputs": [2],
    }
    arrays = preprocessing.encode(customers)
    return build(
        tmp_path_factory.mktemp("table") / "bundle",
        {"name": "mlp", "hidden": [8]},
        signature,
        preprocessing,
        metrics={"val/accuracy": 0.9, "val/loss": 0.3},
        data={"name": "tabular", "config": {"name": "tabular"}, "fingerprint": "ab" * 32, "summary": {"rows": 200}},
        run_id="run1",
        reference=Reference.of(preprocessing, [arrays], np.tile([[0.25, 0.75]], (200, 1))),
    )


@pytest.fixture(scope="session")
def image_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3))
    preprocessing = ImagePreprocessing.fit(pixels, target=ClassTarget.fit("label", range(3)))
    signature = {
        "task": "classification",
        "inputs": {"image": {"shape": [3, 32, 32], "dtype": "float32"}},
        "outputs": [3],
    }
    return build(tmp_path_factory.mktemp("image") / "bundle", {"name": "resnet10t"}, signature, preprocessing)


@pytest.fixture(scope="session")
def forecast_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    values = np.sin(np.arange(100.0))[:, None] * 10 + 50
    mean, std = SeriesPreprocessing.statistics(values)
    preprocessing = SeriesPreprocessing(
        channels=("load",),
        mean=mean,
        std=std,
        window=12,
        horizon=2,
        time="hour",
        naive_mae=1.0,
        target=ScaledTarget.fit(["load"], values, horizon=2),
    )
    signature = {
        "task": "forecasting",
        "inputs": {"series": {"shape": [12, 1], "dtype": "float32"}},
        "outputs": [2, 1],
    }
    return build(tmp_path_factory.mktemp("series") / "bundle", {"name": "lstm", "hidden": 8}, signature, preprocessing)


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    tokenizer = CharacterTokenizer.fit(["abcdefgh "], documents=False)
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [8], "dtype": "int64"}},
        "outputs": [tokenizer.size],
    }
    architecture = {"name": "gpt", "layers": 1, "heads": 2, "width": 16}
    preprocessing = TextPreprocessing(tokenizer=tokenizer, context=8)
    return build(tmp_path_factory.mktemp("text") / "bundle", architecture, signature, preprocessing)


@pytest.fixture(scope="session")
def graph() -> dict[str, np.ndarray]:
    """Twelve nodes on a ring with a few chords, as a user would give them."""
    rng = np.random.default_rng(0)
    ring = np.stack([np.arange(12), (np.arange(12) + 1) % 12])
    return {"x": rng.random((12, 5)), "edge_index": np.concatenate([ring, rng.integers(0, 12, (2, 6))], axis=1)}


@pytest.fixture(scope="session")
def graph_bundle(tmp_path_factory: pytest.TempPathFactory, graph: dict[str, np.ndarray]) -> Bundle:
    preprocessing = GraphPreprocessing(
        features=5, normalise_rows=True, undirected=True, target=ClassTarget.fit("subject", range(3))
    )
    signature = {
        "task": "classification",
        "inputs": {
            "features": {"shape": [5], "dtype": "float32"},
            "edges": {"shape": [2], "dtype": "int64"},
            "seeds": {"shape": [], "dtype": "int64"},
        },
        "outputs": [3],
    }
    folder = tmp_path_factory.mktemp("graph") / "bundle"
    reference = Reference.of(preprocessing, [preprocessing.encode(graph | {"nodes": np.asarray([1, 4])})])
    return build(folder, {"name": "gcn"}, signature, preprocessing, reference=reference)


@pytest.fixture(scope="session")
def links_bundle(tmp_path_factory: pytest.TempPathFactory, graph: dict[str, np.ndarray]) -> Bundle:
    target = ClassTarget(name="linked", classes=("False", "True"), label_type="boolean")
    preprocessing = GraphPreprocessing(features=5, undirected=True, answers="links", target=target)
    signature = {
        "task": "classification",
        "inputs": {
            "features": {"shape": [5], "dtype": "float32"},
            "edges": {"shape": [2], "dtype": "int64"},
            "seeds": {"shape": [2], "dtype": "int64"},
        },
        "outputs": [2],
    }
    folder = tmp_path_factory.mktemp("links") / "bundle"
    reference = Reference.of(preprocessing, [preprocessing.encode(graph | {"pairs": [[1, 4], [2, 3]]})])
    return build(folder, {"name": "gat"}, signature, preprocessing, reference=reference)


@pytest.fixture(scope="session")
def graphs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.random((6, 3), dtype=np.float32),
        "edge_index": np.asarray([[0, 2, 3, 4], [1, 3, 4, 2]]),
        "edge_attr": rng.random((4, 2), dtype=np.float32),
        "graph": np.asarray([0, 0, 1, 1, 1, 2]),
    }


@pytest.fixture(scope="session")
def graphs_bundle(tmp_path_factory: pytest.TempPathFactory, graphs: dict[str, np.ndarray]) -> Bundle:
    preprocessing = GraphPreprocessing(
        features=3, edge_features=2, answers="graphs", target=ClassTarget.fit("kind", range(2))
    )
    numbers = {name: {"shape": [], "dtype": "int64"} for name in ("members", "seeds")}
    inputs = {
        "features": {"shape": [3], "dtype": "float32"},
        "edges": {"shape": [2], "dtype": "int64"},
        "edge_features": {"shape": [2], "dtype": "float32"},
    }
    signature = {"task": "classification", "inputs": inputs | numbers, "outputs": [2]}
    folder = tmp_path_factory.mktemp("graphs") / "bundle"
    reference = Reference.of(preprocessing, [preprocessing.encode(graphs)])
    return build(folder, {"name": "mpnn", "hidden": 4}, signature, preprocessing, reference=reference)
