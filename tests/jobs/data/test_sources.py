"""Built-in sources: light to list, alike to use, and with the splits that are promised."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from forgeline.preprocessing import load_preprocessing
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.descriptor import DataSource
from forgeline_jobs.data.loader import eval_loader, train_loader

ALL = [value for value in vars(sources).values() if isinstance(value, DataSource)]
BUILTIN = [source for source in ALL if source.name not in {"tabular", "images", "text", "series", "graph", "graphs"}]
_PREPARED: dict[str, PreparedData] = {}


def prepared(source: DataSource) -> PreparedData:
    if source.name not in _PREPARED:
        _PREPARED[source.name] = source.prepare(source.config_model()(name=source.name))
    return _PREPARED[source.name]


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    _PREPARED.clear()


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; import forgeline_jobs.data.sources;"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'numpy', 'pydantic') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_configs_import_no_torch() -> None:
    code = (
        "import sys; from forgeline_jobs.data import sources as s;"
        "[v.config_model() for v in vars(s).values() if isinstance(v, s.DataSource)];"
        "print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_every_setting_is_described(source: DataSource) -> None:
    fields = source.config_model().model_fields
    assert all(field.description or name == "name" for name, field in fields.items())
    assert source.help.endswith(".")


@pytest.mark.parametrize("source", BUILTIN, ids=lambda source: source.name)
class TestEverySource:
    """What training relies on, whatever the source."""

    def test_batches_have_the_promised_shapes(self, source: DataSource) -> None:
        data = prepared(source)
        for name in SPLITS:
            indices = np.arange(3, dtype=np.int64)
            for keys in (None, (0, 1)):
                batch = data.splits[name].batch(indices, keys)
                generated = data.signature.task == "generation"
                assert set(batch) == {*data.signature.inputs} | (set() if generated else {"target"})
                for key, spec in data.signature.inputs.items():
                    # A graph has as many nodes and edges as it has, whatever is asked about.
                    rows = len(batch[key]) if key in {"features", "edges", "edge_features", "members"} else 3
                    assert batch[key].shape == (rows, *spec.shape) and batch[key].dtype == spec.dtype
                assert generated or batch["target"].shape[0] == 3

    def test_targets_fit_the_outputs(self, source: DataSource) -> None:
        data = prepared(source)
        if data.signature.task == "generation":
            samples = data.splits["test"].batch(np.arange(len(data.splits["test"])))[data.signature.learnt]
            assert samples.shape[1:] == data.signature.outputs and np.isfinite(samples).all()
            return
        target = data.splits["test"].batch(np.arange(len(data.splits["test"])))["target"]
        if data.signature.task in {"classification", "token_classification", "language_modelling", "translation"}:
            assert target.dtype == np.int64 and target.max() < data.signature.outputs[0]
        else:
            assert target.dtype == np.float32 and target.shape[1:] == data.signature.outputs
            assert np.isfinite(target).all()

    def test_preprocessing_is_json_and_takes_the_example(self, source: DataSource) -> None:
        data = prepared(source)
        restored = load_preprocessing(data.preprocessing.model_dump_json())
        assert restored.schema() == data.preprocessing.schema()
        if data.signature.task == "generation":
            return  # which predicts nothing
        first, second = data.preprocessing.encode(data.input_example), restored.encode(data.input_example)
        assert all(np.array_equal(first[name], second[name]) for name in first)

    def test_loaders_cover_the_splits(self, source: DataSource) -> None:
        data = prepared(source)
        name = "target" if data.signature.task != "generation" else data.signature.learnt
        assert sum(len(batch[name]) for batch in eval_loader(data.splits["val"], 64)) == len(data.splits["val"])
        batch = next(iter(train_loader(data.splits["train"], 8)))
        assert len(batch[name]) == 8

    def test_a_second_time_gives_the_same(self, source: DataSource) -> None:
        data = prepared(source)
        again = source.prepare(source.config_model()(name=source.name))
        assert again.fingerprint == data.fingerprint and len(data.fingerprint) == 64
        assert again.preprocessing == data.preprocessing


def sizes(name: str, **settings: Any) -> dict[str, int]:
    source = next(source for source in ALL if source.name == name)
    data = source.prepare(source.config_model()(name=name, **settings)) if settings else prepared(source)
    return {split: len(data.splits[split]) for split in SPLITS}


def test_mnist5k_is_split_evenly() -> None:
    assert sizes("mnist5k") == {"train": 3600, "val": 400, "test": 1000}
    target = prepared(sources.MNIST5K).splits["test"].batch(np.arange(1000))["target"]
    assert np.bincount(target).tolist() == [100] * 10


def test_mnist1d_keeps_the_published_test_set_and_the_state_of_random() -> None:
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert sizes("mnist1d", batch_size=10)["test"] == 1000
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[union-attr]


def test_seeds_change_the_tables() -> None:
    config = sources.DIABETES.config_model()
    first, second = (
        sources.DIABETES.prepare(config.model_validate({"name": "diabetes", "split": {"seed": seed}}))
        for seed in (0, 1)
    )
    assert first.fingerprint == second.fingerprint
    assert not np.array_equal(*(d.splits["test"].batch(np.arange(20))["target"] for d in (first, second)))


def test_sunspots_forecast_the_last_fifth() -> None:
    data = prepared(sources.SUNSPOTS)
    assert data.summary["rows"] == {"train": 216, "val": 31, "test": 62} and len(data.splits["test"]) == 62
    batch = data.splits["test"].batch(np.asarray([0, 1]))
    assert batch["series"][1, -1, 0] == pytest.approx(batch["target"][0, 0, 0]), "the next window holds the last target"
    assert data.preprocessing.naive_mae == pytest.approx(15.9665, abs=1e-3)  # type: ignore[union-attr]


def test_tinyshakespeare_holds_out_the_last_tenth() -> None:
    data = prepared(sources.TINYSHAKESPEARE)
    assert data.summary["tokens"] == {"train": 948_084, "val": 55_770, "test": 111_540}
    assert data.summary["unknown"] == {"val": 0.0, "test": 0.0}
    target = data.splits["test"].batch(np.arange(len(data.splits["test"])))["target"]
    assert int((target >= 0).sum()) == 111_539
    assert len(data.splits["train"]) // 12 == 1234
