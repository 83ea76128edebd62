"""Bundles as MLflow models, loaded by MLflow alone in a process of its own."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.errors import DataError

# What a user's own process does: no import of ours.
PLAIN = """
import json, sys, warnings
import numpy as np, pandas as pd, mlflow
for folder, raw in json.load(sys.stdin):
    model = mlflow.pyfunc.load_model(folder)
    data = np.asarray(raw, dtype=np.float32) if isinstance(raw, list) else pd.DataFrame(raw)
    assert not any(name.startswith("forgeline") for name in globals())
    print(model.predict(data).to_json(orient="split", double_precision=15))
"""


def by_mlflow(requests: list[tuple[Path, Any]]) -> list[pd.DataFrame]:
    text = json.dumps([(str(folder), raw) for folder, raw in requests])
    arguments = [sys.executable, "-c", PLAIN]
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [pd.DataFrame(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_plain_process_predicts_the_same(
    table_bundle: Bundle,
    image_bundle: Bundle,
    forecast_bundle: Bundle,
    text_bundle: Bundle,
    customers: pd.DataFrame,
    tmp_path: Path,
) -> None:
    rows = customers.head(20).drop(columns="churned")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    windows = np.random.default_rng(0).normal(50, 5, (3, 12, 1)).astype(np.float32)
    texts = ["abc", "h", "gfe abcdefgh"]
    cases: dict[str, tuple[Bundle, Any, Any]] = {
        "table": (table_bundle, rows, json.loads(rows.to_json())),
        "image": (image_bundle, pixels, pixels.tolist()),
        "series": (forecast_bundle, windows, windows.tolist()),
        "text": (text_bundle, texts, {"text": texts}),
    }
    for name, (bundle, raw, _) in cases.items():
        save_mlflow_model(bundle.folder, tmp_path / name, raw[:2])
    answers = by_mlflow([(tmp_path / name, plain) for name, (_, _, plain) in cases.items()])
    for (bundle, raw, _), found in zip(cases.values(), answers, strict=True):
        expected = bundle.predict(raw, device="cpu")
        assert list(found.columns) == list(expected.columns)
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False, rtol=1e-5, atol=1e-7
        )


def test_the_model_says_what_it_takes_and_holds_no_pickle(
    table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path
) -> None:
    from mlflow.models import Model

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    save_mlflow_model(table_bundle.folder, folder, customers.head(3))
    model = Model.load(folder)
    assert model.signature is not None
    assert model.signature.inputs.input_names() == ["age", "usage", "income", "plan", "region"]
    types = {column["name"]: column["type"] for column in model.metadata["forgeline.schema"]["inputs"]}
    assert types == {"age": "double", "usage": "double", "income": "double", "plan": "string", "region": "string"}
    assert [spec.name for spec in model.signature.outputs.inputs][:2] == ["prediction", "probability"]
    example = model.load_input_example(str(folder))
    assert list(example.columns) == ["age", "usage", "income", "plan", "region"] and len(example) == 3
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path.name for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".bin"} or path.name == "old"]
    assert Bundle.load(folder).digest == table_bundle.digest


@pytest.mark.parametrize(
    "change",
    [
        {"age": 40.5},
        {"age": None},
        {"age": 40},
        {"region": "2"},
        {"plan": None},
        {"income": None},
        {"region": 2.0},
        {"usage": 20},
    ],
)
def test_mlflow_lets_through_what_the_preprocessing_reads(
    table_bundle: Bundle, customers: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any]
) -> None:
    """Whole numbers where there were fractions, gaps where there were none: users' files have both."""
    import mlflow

    folder = tmp_path_factory.mktemp("m") / "model"
    save_mlflow_model(table_bundle.folder, folder, customers.head(3))
    row = pd.DataFrame([{**customers.iloc[0].to_dict(), **change}])
    found = mlflow.pyfunc.load_model(str(folder)).predict(row)
    pd.testing.assert_frame_equal(found, table_bundle.predict(row))


def test_a_text_among_numbers_is_named_by_the_preprocessing(
    table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path
) -> None:
    import mlflow

    save_mlflow_model(table_bundle.folder, tmp_path / "model", customers.head(3))
    rows = customers.head(4).astype({"income": object})
    rows.loc[2, "income"] = "lots"
    with pytest.raises(DataError, match="`income` is 'lots' in data row 2"):
        mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(rows)


def test_images_and_series_in_every_form_that_mlflow_lets_through(
    image_bundle: Bundle, forecast_bundle: Bundle, tmp_path: Path
) -> None:
    import mlflow
    from mlflow.models import Model
    from PIL import Image

    pixels = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for image, path in zip(pixels, paths, strict=True):
        Image.fromarray(image).save(path)
    save_mlflow_model(image_bundle.folder, tmp_path / "images", pixels)
    model, expected = mlflow.pyfunc.load_model(str(tmp_path / "images")), image_bundle.predict(pixels)
    grey = pixels[..., 0]
    pd.testing.assert_frame_equal(model.predict(grey), image_bundle.predict(grey))
    example = Model.load(tmp_path / "images").load_input_example(str(tmp_path / "images"))
    for raw in (pixels, pixels.astype(np.float64), example, np.asarray([Image.open(path) for path in paths])):
        pd.testing.assert_frame_equal(model.predict(raw), expected, rtol=1e-5)
    for raw in (np.asarray(paths), pd.DataFrame({"scan": paths})):
        pd.testing.assert_frame_equal(model.predict(raw), image_bundle.predict(paths))

    windows = np.random.default_rng(0).normal(50, 5, (3, 12))
    save_mlflow_model(forecast_bundle.folder, tmp_path / "series", windows)
    model = mlflow.pyfunc.load_model(str(tmp_path / "series"))
    pd.testing.assert_frame_equal(model.predict(windows), forecast_bundle.predict(windows))


def test_the_examples_of_the_docs_run_as_printed(
    table_bundle: Bundle,
    image_bundle: Bundle,
    text_bundle: Bundle,
    customers: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import pyfunc
    from PIL import Image

    page = (Path(__file__).parents[3] / "docs" / "bundles.md").read_text(encoding="utf-8")
    section = page.partition("### From MLflow")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    customers.to_csv(tmp_path / "new-customers.csv", index=False)
    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "digit.png")
    cases: dict[str, tuple[Bundle, Any]] = {
        "churn": (table_bundle, customers),
        "digits": (image_bundle, Image.open(tmp_path / "digit.png")),
        "tinyshakespeare": (text_bundle, ["ROMEO:", "JULIET:"]),
    }
    load_model = pyfunc.load_model
    for bundle, _ in cases.values():
        save_mlflow_model(bundle.folder, tmp_path / bundle.name)
    monkeypatch.setattr(
        pyfunc,
        "load_model",
        lambda uri: load_model(str(tmp_path / cases[uri[len("models:/") : -len("@champion")]][0].name)),
    )
    monkeypatch.chdir(tmp_path)
    assert len(examples) == len(cases)
    for example, (bundle, raw) in zip(examples, cases.values(), strict=True):
        *statements, last = ast.parse(example).body
        assert isinstance(last, ast.Expr)
        names: dict[str, Any] = {}
        exec(compile(ast.Module(statements, type_ignores=[]), "docs", "exec"), names)
        found = eval(compile(ast.Expression(last.value), "docs", "eval"), names)
        pd.testing.assert_frame_equal(found, bundle.predict(raw), rtol=1e-5)


def test_examples_in_other_forms_become_what_the_signature_says(
    image_bundle: Bundle, forecast_bundle: Bundle, tmp_path: Path
) -> None:
    from mlflow.models import Model
    from PIL import Image

    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "red.png")
    save_mlflow_model(image_bundle.folder, tmp_path / "images", [tmp_path / "red.png"])
    example = np.asarray(Model.load(tmp_path / "images").load_input_example(str(tmp_path / "images")), dtype=float)
    assert example.shape == (1, 32, 32, 3)
    np.testing.assert_allclose(example[0, 0, 0], [255, 0, 0], atol=1e-3)

    frame = pd.DataFrame({"hour": range(13), "load": np.arange(13.0)})
    save_mlflow_model(forecast_bundle.folder, tmp_path / "series", frame)
    example = np.asarray(Model.load(tmp_path / "series").load_input_example(str(tmp_path / "series")), dtype=float)
    assert example.shape == (2, 12, 1)
    np.testing.assert_allclose(example[1, :, 0], np.arange(1, 13), rtol=1e-5)


def test_without_an_example(text_bundle: Bundle, tmp_path: Path) -> None:
    save_mlflow_model(text_bundle.folder, tmp_path / "model")
    assert Bundle.load(tmp_path / "model").digest == text_bundle.digest
