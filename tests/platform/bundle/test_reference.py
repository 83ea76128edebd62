"""Reference statistics: bins that hold equal shares, counted alike in training and in monitoring."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.reference import MOST_CATEGORIES, CategoricalReference, NumericReference, input_values

floats = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.one_of(floats, st.just(float("nan"))), min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_every_value_is_counted_once(values: list[float]) -> None:
    reference = NumericReference.of(np.asarray(values))
    assert sum(reference.counts) + reference.missing == len(values)
    assert len(reference.counts) == len(reference.edges) + 1 <= 20
    assert list(reference.edges) == sorted(set(reference.edges))
    assert reference.count(np.asarray(values)).tolist() == list(reference.counts)
    if reference.missing < len(values) and len(reference.counts) > 1:
        assert all(reference.counts)


def test_bins_of_a_continuous_column_hold_equal_shares() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    reference = NumericReference.of(values)
    assert len(reference.counts) == 20
    assert max(reference.counts) - min(reference.counts) <= 2
    shifted = reference.count(values + 1)
    assert shifted.sum() == 2000 and shifted[-1] > 3 * reference.counts[-1]
    assert reference.count(np.array([-1e9, 1e9, np.nan])).sum() == 2


def test_a_column_of_few_values_has_few_bins() -> None:
    reference = NumericReference.of(np.array([0, 0, 0, 1, 1, 5]))
    assert reference.counts == (3, 2, 1)
    assert NumericReference.of(np.full(5, 3.0)).counts == (5,)
    nothing = NumericReference.of(np.full(3, np.nan))
    assert (nothing.counts, nothing.missing) == ((0,), 3)


def test_rare_categories_are_counted_together() -> None:
    names = [f"c{number}" for number in range(MOST_CATEGORIES + 50)]
    reference = CategoricalReference.of(names, [2] * MOST_CATEGORIES + [1] * 50)
    assert len(reference.counts) == MOST_CATEGORIES and reference.other == 50


def test_a_table_is_described_in_its_own_units(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    reference = table_bundle.reference
    assert reference is not None
    income, region = reference.inputs["income"], reference.inputs["region"]
    assert isinstance(income, NumericReference) and isinstance(region, CategoricalReference)
    assert income.missing == customers["income"].isna().sum()
    assert income.mean == pytest.approx(customers["income"].mean(), rel=1e-5)
    assert region.counts == customers["region"].astype(str).value_counts().to_dict()
    unknown = customers.head(10).assign(plan="new")
    seen = input_values(table_bundle.preprocessing, table_bundle.preprocessing.encode(unknown))
    assert seen["plan"] == {"": 10}


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
    seen = input_values(image_bundle.preprocessing, image_bundle.preprocessing.encode(images))
    np.testing.assert_allclose(np.asarray(seen["intensity"]), [0, 1], atol=1e-5)
    np.testing.assert_allclose(np.asarray(seen["contrast"]), [0, 0], atol=1e-5)
    ramp = np.arange(12.0)[None, :, None]
    seen = input_values(forecast_bundle.preprocessing, forecast_bundle.preprocessing.encode(ramp))
    np.testing.assert_allclose([float(np.asarray(seen[f"load.{part}"])[0]) for part in ("level", "last")], [5.5, 11])
    arrays = text_bundle.preprocessing.encode(["aab", "h"])
    reference = Reference.of(text_bundle.preprocessing, [arrays])
    tokens, length = reference.inputs["token"], reference.inputs["length"]
    assert isinstance(tokens, CategoricalReference) and sorted(tokens.counts.values()) == [1, 1, 2]
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
