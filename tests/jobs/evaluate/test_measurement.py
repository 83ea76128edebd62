"""Measuring a model: the same numbers as validation gives, in the model's own encoding, with a report to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from forgeline.bundle import Bundle
from forgeline.errors import DataError, NotFound, UsageError
from forgeline.spec.loading import load
from forgeline_jobs.data.tabular import TabularConfig, prepare_tabular
from forgeline_jobs.evaluate.kind import EvaluateKind
from forgeline_jobs.evaluate.measurement import Task, data_of, measure


def task(bundle: Path, folder: Path, **changes: Any) -> Task:
    settings: dict[str, Any] = {"data": None, "split": "test", "batch_size": 7, "device": "cpu"}
    return Task(bundle=str(bundle), folder=str(folder), **(settings | changes))


def test_the_test_split_is_measured_and_reported(wine_bundle: Path, tmp_path: Path) -> None:
    result = measure(task(wine_bundle, tmp_path))
    bundle = Bundle.load(wine_bundle)
    _, data = data_of(bundle, None)
    batch = data.splits["test"].batch(range(len(data.splits["test"])))  # type: ignore[arg-type]
    targets = batch.pop("target")
    expected = accuracy_score(targets, bundle.outputs(batch).argmax(axis=1))
    assert result["metrics"]["test/accuracy"] == pytest.approx(expected)
    assert json.loads((tmp_path / "metrics.json").read_text())["samples"] == len(targets)
    report = (tmp_path / "report.md").read_text()
    assert "test/accuracy" in report
    for picture in ("confusion-matrix", "roc", "calibration"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 1000
        assert f"({picture}.png)" in report


def test_the_batch_size_changes_nothing(wine_bundle: Path, tmp_path: Path) -> None:
    one = measure(task(wine_bundle, tmp_path / "one", batch_size=7))["metrics"]
    other = measure(task(wine_bundle, tmp_path / "other", batch_size=512))["metrics"]
    assert one == pytest.approx(other, rel=1e-5)


def test_data_for_another_task_are_refused(wine_bundle: Path) -> None:
    spec = load({"kind": "evaluate", "name": "e", "model": str(wine_bundle), "data": {"name": "diabetes"}}).spec
    with pytest.raises(DataError, match=r"data\.name.*regression.*classification"):
        EvaluateKind().check(spec)  # type: ignore[arg-type]


def test_a_model_that_is_not_there_is_not_found(home: Path) -> None:
    spec = load({"kind": "evaluate", "name": "e", "model": "models:/nothing@champion"}).spec
    with pytest.raises(NotFound, match="nothing"):
        EvaluateKind().check(spec)  # type: ignore[arg-type]


@pytest.fixture
def flowers() -> pd.DataFrame:
    """Three classes that two numbers and a category tell apart."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 240)
    return pd.DataFrame(
        {
            "length": kind * 2.0 + rng.normal(0, 0.3, 240),
            "width": np.where(rng.random(240) < 0.1, np.nan, rng.normal(5, 1, 240)),
            "soil": np.asarray(["clay", "peat", "sand"])[(kind + rng.integers(0, 2, 240)) % 3],
            "kind": np.asarray(["iris", "lily", "rose"])[kind],
        }
    )


@pytest.fixture
def flower_bundle(flowers: pd.DataFrame, tmp_path: Path) -> Bundle:
    """A model of them, fitted by a few steps."""
    import torch

    from forgeline import plugins

    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    config = TabularConfig(name="tabular", path=str(tmp_path / "flowers.csv"), target="kind")
    data = prepare_tabular(config)
    architecture = {"name": "mlp", "hidden": [16]}
    signature = data.signature.model_dump(mode="json")
    descriptor: Any = plugins.find(plugins.ARCHITECTURES, "mlp", key="architecture.name")
    torch.manual_seed(0)
    model = descriptor.build_model(architecture, signature)
    split = data.splits["train"]
    batch = {name: torch.from_numpy(array) for name, array in split.batch(np.arange(len(split))).items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), batch["target"]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Bundle.save(
        tmp_path / "bundle",
        model_state=model.state_dict(),
        architecture=architecture,
        signature=signature,
        preprocessing=data.preprocessing,
        data={"name": "tabular", "config": config.model_dump(mode="json"), "fingerprint": data.fingerprint},
    )


def test_on_val_it_gives_what_training_measured(wine_bundle: Path, tmp_path: Path) -> None:
    """Another path to the same numbers: no Lightning, other batches."""
    measured = measure(task(wine_bundle, tmp_path / "report", split="val"))["metrics"]
    trained = Bundle.load(wine_bundle).metrics
    assert set(measured) == set(trained)
    assert measured == pytest.approx(dict(trained), rel=1e-5, abs=1e-6)


def test_the_report_says_what_was_measured_and_shows_it(wine_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    result = measure(task(wine_bundle, folder))
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert (result["split"], result["data"], result["run_id"]) == ("test", "wine", "wine")
    text = (folder / "report.md").read_text()
    assert f"| test/accuracy | {result['metrics']['test/accuracy']:.6g} | higher |" in text
    assert "## By class" in text and "fingerprint" in text
    for line in text.splitlines():
        if line.startswith("!["):
            picture = folder / line.partition("(")[2].rstrip(")")
            assert picture.read_bytes().startswith(b"\x89PNG")
    assert text.count("![") == 3


def test_fresh_data_are_encoded_as_the_model_was_trained(
    flower_bundle: Bundle, flowers: pd.DataFrame, tmp_path: Path
) -> None:
    """Other means, another order of classes, columns in another order: none of it may show."""
    fresh = flowers.sample(frac=1, random_state=3).head(150)[["soil", "kind", "width", "length"]]
    fresh = fresh[(fresh["kind"] != "iris") & (fresh["soil"] != "clay")]
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    given = {"name": "tabular", "path": str(tmp_path / "fresh.csv"), "target": "kind"}
    result = measure(task(flower_bundle.folder, tmp_path / "report", data=given))
    config = TabularConfig.model_validate(given)
    assert prepare_tabular(config).preprocessing.classes == ("lily", "rose")

    # The same rows by the ordinary way of predicting.
    predicted = flower_bundle.predict(fresh)["prediction"]
    assert result["metrics"]["test/accuracy"] > 0.8
    assert (predicted == fresh["kind"]).mean() == pytest.approx(result["metrics"]["test/accuracy"], abs=0.1)
    assert "1 of 3 classes have no sample here (`iris`)" in result["remarks"][0]
    assert "1 of 3 classes" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "tulip"}, "class 'tulip', which the model does not know"),
        ({"length": None}, "no numeric column 'length', which the model reads"),
        ({"soil": 1.5}, "no categorical column 'soil'.*it is there, but not categorical"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    flower_bundle: Bundle, flowers: pd.DataFrame, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    (name, value) = next(iter(change.items()))
    if value is None:
        flowers = flowers.drop(columns=name)
    else:
        flowers = flowers.astype({name: object})
        chosen = flowers.index[:30] if name == "kind" else flowers.index
        flowers.loc[chosen, name] = value
        if name == "soil":
            flowers[name] = np.linspace(0, 1, len(flowers))
    flowers.to_csv(tmp_path / "other.csv", index=False)
    config = TabularConfig(name="tabular", path=str(tmp_path / "other.csv"), target="kind")
    with pytest.raises(DataError, match=words) as caught:
        data_of(flower_bundle, config)
    assert caught.value.key == "data"


def test_training_data_that_changed_are_refused_unless_given(
    flower_bundle: Bundle, flowers: pd.DataFrame, tmp_path: Path
) -> None:
    flowers.loc[0, "length"] += 1
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    with pytest.raises(DataError, match="changed since the model was trained: fingerprint") as caught:
        data_of(flower_bundle, None)
    assert caught.value.exit_code == 2
    name, _ = data_of(flower_bundle, TabularConfig(name="tabular", path=str(tmp_path / "flowers.csv"), target="kind"))
    assert name == "tabular"


def test_a_model_that_does_not_know_its_data_needs_them_given(flower_bundle: Bundle, tmp_path: Path) -> None:
    unknown = Bundle.save(
        tmp_path / "unknown",
        model_state=flower_bundle.model.state_dict(),
        architecture=flower_bundle.manifest.architecture,
        signature=flower_bundle.manifest.signature,
        preprocessing=flower_bundle.preprocessing,
    )
    with pytest.raises(UsageError, match="give `data`"):
        data_of(unknown, None)


def test_data_of_another_task_are_refused(flower_bundle: Bundle, flowers: pd.DataFrame, tmp_path: Path) -> None:
    config = TabularConfig(name="tabular", path=str(tmp_path / "flowers.csv"), target="length")
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    with pytest.raises(DataError, match="are for regression, the model for classification"):
        data_of(flower_bundle, config)
