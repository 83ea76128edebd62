"""Small bundles of four modalities with fresh weights, and encoded samples of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.preprocessing import (
    ClassTarget,
    ImagePreprocessing,
    Preprocessing,
    ScaledTarget,
    SeriesPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from forgeline.preprocessing.tokenization import CharacterTokenizer

ROWS = 40


@dataclass(frozen=True)
class Case:
    """A bundle, raw data that it takes, the same encoded, and targets."""

    bundle: Bundle
    raw: Any
    samples: dict[str, NDArray[Any]]
    targets: NDArray[Any] | None = None


def saved(
    folder: Path, architecture: Mapping[str, Any], signature: Mapping[str, Any], preprocessing: Preprocessing
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
    )


def _table(folder: Path) -> Case:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age": rng.integers(18, 90, ROWS), "plan": rng.choice(["basic", "pro"], ROWS)})
    labels = np.where(rows["age"] > 50, "yes", "no")
    target = ClassTarget.fit("churned", labels)
    preprocessing = TablePreprocessing.fit(rows, numeric=["age"], categorical=["plan"], target=target)
    signature = {
        "task": "classification",
        "inputs": {"numeric": {"shape": [1], "dtype": "float32"}, "categorical": {"shape": [1], "dtype": "int64"}},
        "cardinalities": list(preprocessing.cardinalities),
        "outputs": [2],
    }
    bundle = saved(folder, {"name": "mlp", "hidden": [16, 8], "norm": "batch"}, signature, preprocessing)
    return Case(bundle, rows, preprocessing.encode(rows), target.encode(labels))


def _image(folder: Path) -> Case:
    pixels = np.random.default_rng(1).integers(0, 256, (ROWS, 16, 16, 1), dtype=np.uint8)
    preprocessing = ImagePreprocessing.fit(pixels, target=ClassTarget.fit("label", range(3)))
    signature = {
        "task": "classification",
        "inputs": {"image": {"shape": [1, 16, 16], "dtype": "float32"}},
        "outputs": [3],
    }
    bundle = saved(folder, {"name": "lenet"}, signature, preprocessing)
    return Case(bundle, pixels, preprocessing.encode(pixels), np.arange(ROWS) % 3)


def _series(folder: Path) -> Case:
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
    bundle = saved(folder, {"name": "lstm", "hidden": 8}, signature, preprocessing)
    windows = np.random.default_rng(2).normal(50, 10, (ROWS, 12, 1))
    return Case(bundle, windows, preprocessing.encode(windows), np.zeros((ROWS, 2, 1)))


def _text(folder: Path) -> Case:
    texts = ["a fade", "bed cab", "a", "dad fed a bad cab"] * (ROWS // 4)
    tokenizer = CharacterTokenizer.fit(["abcdef "], documents=False)
    preprocessing = TextPreprocessing(
        tokenizer=tokenizer, context=20, target=ClassTarget.fit("kind", ["long", "short"])
    )
    signature = {
        "task": "classification",
        "inputs": {"tokens": {"shape": [20], "dtype": "int64"}, "length": {"shape": [], "dtype": "int64"}},
        "vocabulary": 16,
        "outputs": [2],
    }
    bundle = saved(folder, {"name": "bert", "layers": 1, "heads": 2, "width": 16}, signature, preprocessing)
    return Case(bundle, texts, preprocessing.encode(texts), np.arange(ROWS) % 2)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _table(tmp_path_factory.mktemp("table") / "bundle")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _image(tmp_path_factory.mktemp("image") / "bundle")


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _series(tmp_path_factory.mktemp("series") / "bundle")


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return _text(tmp_path_factory.mktemp("text") / "bundle")


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Case:
    tokenizer = CharacterTokenizer.fit(["abcdef "], documents=False)
    preprocessing = TextPreprocessing(tokenizer=tokenizer, context=20)
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [20], "dtype": "int64"}},
        "outputs": [16],
    }
    folder = tmp_path_factory.mktemp("language") / "bundle"
    bundle = saved(folder, {"name": "gpt", "layers": 1, "heads": 2, "width": 16}, signature, preprocessing)
    texts = ["a fade", "bed", "dad fed a bad cab"]
    return Case(bundle, texts, preprocessing.encode(texts))


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    preprocessing = ImagePreprocessing.fit(pixels, target=None)
    signature = {
        "task": "generation",
        "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
        "outputs": [1, 8, 8],
    }
    folder = tmp_path_factory.mktemp("generator") / "bundle"
    return saved(folder, {"name": "vae", "hidden": [8], "latent": 2}, signature, preprocessing)


@pytest.fixture(scope="session", params=["table", "image", "series", "text"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def graphs_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """The folder that a case was exported to as pt2 and ONNX, once for all tests; what changes it copies it first."""
    made: dict[str, Path] = {}

    def folder(case: Case) -> Path:
        from forgeline.export import export_model

        if case.bundle.digest not in made:
            place = tmp_path_factory.mktemp("exported") / "export"
            export_model(case.bundle, place, ["pt2", "onnx"], samples=case.samples)
            made[case.bundle.digest] = place
        return made[case.bundle.digest]

    return folder


@pytest.fixture(scope="session")
def exported(table: Case, graphs_of: Callable[[Case], Path]) -> Path:
    """The table's model as pt2 and ONNX."""
    return graphs_of(table)
