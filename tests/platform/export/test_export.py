"""A model exported and loaded again gives what the bundle gives, whatever the batch, and says what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import DataError, NotFound, UsageError
from forgeline.export import (
    NotExportable,
    export_model,
    load_exported,
    measure_export,
    measure_exported,
    measure_original,
)

GRAPHS = ["pt2", "onnx"]
Graphs = Callable[[Any], Path]


def test_answers_as_the_bundle_does(case: Any, graphs_of: Graphs) -> None:
    wanted = case.bundle.outputs(case.samples, device="cpu")
    for form in GRAPHS:
        model = load_exported(graphs_of(case), form)
        for size in (1, 3, 256):  # the first axis may vary, down to one sample
            np.testing.assert_allclose(model.run(case.samples, batch_size=size), wanted, atol=1e-5)
        pd.testing.assert_frame_equal(model.predict(case.raw), case.bundle.predict(case.raw, device="cpu"), atol=1e-5)


def test_shorter_texts_are_filled_up(text: Any, graphs_of: Graphs) -> None:
    short = text.bundle.preprocessing.encode(["a", "bed"])
    assert short["tokens"].shape[1] < 20
    found = load_exported(graphs_of(text), "onnx").run(short)
    np.testing.assert_allclose(found, text.bundle.outputs(short, device="cpu"), atol=1e-5)


def test_a_language_model_gives_logits_of_the_next_token(language_model: Any, graphs_of: Graphs) -> None:
    wanted = language_model.bundle.outputs(language_model.samples, device="cpu")
    for form in GRAPHS:
        model = load_exported(graphs_of(language_model), form)
        logits = model.run(language_model.samples)
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(probabilities, wanted, atol=1e-5)
        assert model.manifest.output is not None and model.manifest.output.name == "logits"
        with pytest.raises(UsageError, match=r"gives logits; what follows is the caller's"):
            model.predict(["a"])


def test_the_folder_can_be_used_alone(table: Any, exported: Path) -> None:
    manifest = json.loads((exported / "export.json").read_text())
    assert manifest["bundle"] == table.bundle.digest
    assert [given["name"] for given in manifest["inputs"]] == ["numeric", "categorical"]
    assert manifest["inputs"][0]["shape"] == [None, 1]
    assert manifest["classes"] == ["no", "yes"]
    assert set(manifest["digests"]) == {"model.onnx", "model.pt2", "preprocessing.json"}


def test_nothing_of_this_machine_or_the_samples_is_in_it(exported: Path) -> None:
    for path in exported.iterdir():
        content = path.read_bytes()
        assert b"forward.py" not in content and b"site-packages" not in content and b"/model.py" not in content


def test_equal_models_give_equal_bytes(table: Any, exported: Path, tmp_path: Path) -> None:
    export_model(table.bundle, tmp_path / "again", ["onnx"], samples=table.samples)
    for name in ("model.onnx", "preprocessing.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes()


def test_a_safetensors_bundle_is_a_sealed_copy(table: Any, tmp_path: Path) -> None:
    export_model(table.bundle, tmp_path / "out", ["safetensors"])
    copy = Bundle.load(tmp_path / "out" / "bundle")
    assert copy.digest == table.bundle.digest
    with pytest.raises(UsageError, match=r"holds a bundle alone; load it by Bundle\.load"):
        load_exported(tmp_path / "out")


def test_a_generator_is_refused_by_name(generator: Bundle, tmp_path: Path) -> None:
    samples = {"image": np.zeros((2, 1, 8, 8), dtype=np.float32)}
    with pytest.raises(NotExportable, match=r"vae makes samples from random numbers"):
        export_model(generator, tmp_path / "out", ["onnx"], samples=samples)
    assert not (tmp_path / "out").exists()
    export_model(generator, tmp_path / "out", ["safetensors"])
    assert Bundle.load(tmp_path / "out" / "bundle").name == "vae"


@pytest.mark.parametrize(
    ("forms", "given", "error", "message"),
    [
        ([], {}, UsageError, "no form to export to"),
        (["onnx"], {}, UsageError, "samples are missing"),
        (["onnx"], {"samples": {"numeric": np.zeros((2, 1))}}, DataError, "takes 'categorical'"),
        (
            ["onnx"],
            {"samples": {"numeric": np.zeros((2, 3)), "categorical": np.zeros((2, 1))}},
            DataError,
            r"numeric has the shape \(2, 3\); the model takes \(n, 1\)",
        ),
    ],
)
def test_refuses_what_is_missing(
    table: Any, tmp_path: Path, forms: list[str], given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_model(table.bundle, tmp_path / "out", forms, **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_replaced(table: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is there and is no export"):
        export_model(table.bundle, tmp_path, ["safetensors"])
    assert (tmp_path / "thesis.tex").exists()


def test_a_form_must_be_there_and_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"several forms \(pt2, onnx\); name one"):
        load_exported(exported)
    with pytest.raises(NotFound, match="holds no int8-static; it holds pt2, onnx"):
        load_exported(exported, "int8-static")
    with pytest.raises(NotFound, match=r"holds no export\.json"):
        load_exported(tmp_path)


def test_figures_tell_what_was_measured(table: Any, exported: Path) -> None:
    original = measure_original(table.bundle, table.samples, table.targets, repetitions=10)
    model = load_exported(exported, "onnx", threads=1)
    onnx = measure_exported(model, table.bundle, table.samples, table.targets, repetitions=10)
    assert original.parity == 0 and 0 < onnx.parity < 1e-5
    assert (onnx.metric, onnx.value) == ("accuracy", original.value)
    assert onnx.samples == 40 and onnx.threads == 1 and onnx.repetitions == 10 and onnx.batch == 32
    assert 0 < onnx.p50_ms <= onnx.p99_ms
    assert json.loads(json.dumps(onnx.row()))["format"] == "onnx"


def test_targets_must_be_those_of_the_samples(table: Any) -> None:
    with pytest.raises(DataError, match="1 targets for 40 outputs"):
        measure_original(table.bundle, table.samples, table.targets[:1], repetitions=1)
    with pytest.raises(UsageError, match="repetitions are 0"):
        measure_original(table.bundle, table.samples, repetitions=0)
    with pytest.raises(UsageError, match="measure `original`"):
        measure_export(table.bundle, "safetensors", table.samples)
