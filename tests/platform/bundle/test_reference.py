"""Reference statistics: what of the training data and of the outputs is kept, and how it is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.reference import LARGEST_BYTES
from forgeline.bundle.reference_features import input_features
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.errors import BundleError, BundleTampered


def described(bundle: Bundle, raw: Any) -> dict[str, NDArray[np.float64]]:
    """The numbers of samples by name."""
    features = input_features(bundle.preprocessing)
    return dict(zip(features.numeric, features(bundle.preprocessing.encode(raw)).numbers.T, strict=True))


def test_a_table_is_described_in_its_own_units(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    reference = table_bundle.reference
    assert reference is not None
    income, region = reference.inputs["income"], reference.inputs["region"]
    assert isinstance(income, NumericReference) and isinstance(region, CategoricalReference)
    assert income.missing == customers["income"].isna().sum()
    assert income.mean == pytest.approx(customers["income"].mean(), rel=1e-5)
    assert region.counts == customers["region"].astype(str).value_counts().to_dict()
    unknown = customers.head(10).assign(plan="new")
    seen = input_features(table_bundle.preprocessing)(table_bundle.preprocessing.encode(unknown))
    assert (seen.codes[:, 0] == 0).all()


def test_outputs_are_described_by_class_and_confidence(table_bundle: Bundle) -> None:
    assert table_bundle.reference is not None
    outputs = table_bundle.reference.outputs
    assert isinstance(outputs["prediction"], CategoricalReference)
    assert outputs["prediction"].counts == {"yes": 200, "no": 0}
    assert isinstance(outputs["probability"], NumericReference) and outputs["probability"].mean == 0.75


def test_batches_together_are_one_reference(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    preprocessing = table_bundle.preprocessing
    parts = [preprocessing.encode(customers.iloc[start : start + 60]) for start in range(0, 200, 60)]
    split = Reference.of(preprocessing, iter(parts))
    assert split == Reference.of(preprocessing, [preprocessing.encode(customers)])
    assert split.samples == 200


def test_a_table_of_categories_alone_knows_its_size(customers: pd.DataFrame) -> None:
    from forgeline.preprocessing import ClassTarget, TablePreprocessing

    target = ClassTarget.fit("churned", customers["churned"])
    preprocessing = TablePreprocessing.fit(customers, numeric=[], categorical=["plan"], target=target)
    assert Reference.of(preprocessing, [preprocessing.encode(customers)]).samples == 200


def test_images_series_and_texts(image_bundle: Bundle, forecast_bundle: Bundle, text_bundle: Bundle) -> None:
    images = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255.0)])
    seen = described(image_bundle, images)
    np.testing.assert_allclose(seen["intensity"], [0, 1], atol=1e-5)
    np.testing.assert_allclose(seen["contrast"], [0, 0], atol=1e-5)
    ramp = np.arange(12.0)[None, :, None]
    seen = described(forecast_bundle, ramp)
    np.testing.assert_allclose([float(seen[f"load.{part}"][0]) for part in ("level", "last")], [5.5, 11])
    arrays = text_bundle.preprocessing.encode(["aab", "h"])
    reference = Reference.of(text_bundle.preprocessing, [arrays])
    tokens, length = reference.inputs["token"], reference.inputs["length"]
    assert isinstance(tokens, CategoricalReference) and sum(tokens.counts.values()) == 2
    assert isinstance(length, NumericReference) and (length.minimum, length.maximum) == (1, 3)
    assert reference.samples == 2


def test_forecasts_are_described_in_units_of_the_target(forecast_bundle: Bundle) -> None:
    reference = Reference.of(forecast_bundle.preprocessing, [], np.zeros((4, 2, 1)))
    first = reference.outputs["prediction[t+1]"]
    assert isinstance(first, NumericReference)
    assert forecast_bundle.preprocessing.target_mean is not None
    assert first.mean == pytest.approx(forecast_bundle.preprocessing.target_mean[0])


def test_a_reference_is_json(table_bundle: Bundle) -> None:
    assert table_bundle.reference is not None
    text = table_bundle.reference.model_dump_json()
    assert Reference.model_validate(json.loads(text)) == table_bundle.reference


def test_a_reference_of_earlier_versions_is_read(tmp_path: Path) -> None:
    """As 0.1.0 wrote it: 20 bins, up to 200 categories."""
    numeric = {
        "kind": "numeric", "edges": [1.0, 2.0], "counts": [4, 3, 3], "missing": 1,
        "mean": 1.5, "std": 1.0, "minimum": 0.0, "maximum": 4.0,
    }  # fmt: skip
    categorical = {"kind": "categorical", "counts": {f"c{i}": 1 for i in range(200)}, "other": 3, "missing": 0}
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"format": 1, "samples": 11, "inputs": {"age": numeric, "plan": categorical}}))
    read = Reference.read(path)
    assert read.inputs["age"].count(np.array([0.5, 9.0])).above == 1  # type: ignore[arg-type]
    assert read.outputs == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "holds no reference statistics"),
        ('{"format": 3, "samples": 1, "inputs": {}}', "format"),
        ('{"samples": -1, "inputs": {}}', "samples"),
        ('{"samples": 1, "inputs": {"age": {"kind": "strange"}}}', "inputs.age"),
        ('{"samples": 1, "inputs": {"age": {"kind": "categorical", "counts": {"a": NaN}}}}', "counts.a"),
    ],
)
def test_a_reference_from_elsewhere_is_checked(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(content)
    with pytest.raises(BundleError, match=message):
        Reference.read(path)


def test_a_reference_that_is_no_summary_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(BundleError, match="at most"):
        Reference.read(path)


def test_a_reference_that_is_exchanged_after_loading_is_refused(table_bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(table_bundle.folder, tmp_path / "bundle")
    bundle = Bundle.load(folder)
    content: dict[str, Any] = json.loads((folder / "reference.json").read_text())
    (folder / "reference.json").write_text(json.dumps(content | {"samples": 1}))
    with pytest.raises(BundleTampered):
        bundle.reference  # noqa: B018
