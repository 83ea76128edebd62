"""Tables: what is encoded is deterministic, survives JSON, and no unknown or missing value raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as frames

from forgeline.bundle.tables import TableFile
from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ScaledTarget, TablePreprocessing, load_preprocessing
from forgeline.preprocessing.reading import read_table

TRAIN = pd.DataFrame({"age": [20, 30, None, 50], "city": ["Rome", "Oslo", None, "Rome"], "y": ["a", "b", "a", "b"]})


def fitted() -> TablePreprocessing:
    return TablePreprocessing.fit(TRAIN, numeric=["age"], categorical=["city"], target=ClassTarget.fit("y", TRAIN["y"]))


def test_numbers_are_imputed_by_the_median_and_standardised() -> None:
    encoded = fitted().encode(TRAIN)["numeric"]
    assert encoded.dtype == np.float32 and encoded.shape == (4, 2)
    assert encoded[:, 0].mean() == pytest.approx(0, abs=1e-6) and encoded[:, 0].std() == pytest.approx(1, abs=1e-6)
    assert encoded[:, 1].tolist() == [0, 0, 1, 0], "the second input says where the number was missing"


def test_unknown_and_missing_categories_are_number_zero() -> None:
    preprocessing = fitted()
    rows = pd.DataFrame({"age": [1, 2, 3], "city": ["Oslo", "Paris", None]})
    assert preprocessing.encode(rows)["categorical"][:, 0].tolist() == [1, 0, 0]
    assert preprocessing.cardinalities == (3,)


@pytest.mark.parametrize(
    ("train", "given"), [("01\n02\nA1\n", "01\n02\n"), ("01\n2\nA1\n", "01\n2\n"), ("1\n2\n", "1\n2\n")]
)
def test_a_code_is_the_same_category_whatever_else_is_in_the_file(train: str, given: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"store\n{train}")
    (tmp_path / "given.csv").write_text(f"store\n{given}")
    table = read_table(tmp_path / "train.csv")
    preprocessing = TablePreprocessing.fit(table, numeric=[], categorical=["store"], target=ClassTarget.fit("y", "ab"))
    assert preprocessing.encode(preprocessing.read(tmp_path / "given.csv"))["categorical"][:, 0].tolist() == [1, 2]
    [piece] = TableFile(tmp_path / "given.csv", texts=preprocessing.texts).pieces()
    assert preprocessing.encode(piece)["categorical"][:, 0].tolist() == [1, 2]


def test_whole_numbers_are_the_same_category_with_and_without_a_missing_one() -> None:
    train = pd.DataFrame({"zip": [1.0, 2.0, None], "y": [1, 2, 3]})
    preprocessing = TablePreprocessing.fit(
        train, numeric=[], categorical=["zip"], target=ScaledTarget.fit(["y"], train[["y"]].to_numpy())
    )
    assert preprocessing.encode(pd.DataFrame({"zip": [2, 1]}))["categorical"][:, 0].tolist() == [2, 1]


def test_a_missing_column_names_the_nearest() -> None:
    with pytest.raises(DataError, match="no column 'age'.*did you mean `aeg`"):
        fitted().encode(pd.DataFrame({"aeg": [1], "city": ["Oslo"]}))


@pytest.mark.parametrize(
    "raw", [{"age": 1, "city": "Oslo"}, [{"age": 1, "city": "Oslo"}], {"age": [1], "city": ["Oslo"]}]
)
def test_rows_come_in_any_form(raw: object) -> None:
    assert fitted().encode(raw)["numeric"].shape == (1, 2)  # type: ignore[arg-type]


def test_what_is_missing_is_told_beside_the_encoding() -> None:
    rows = pd.DataFrame({"age": [1, None, "", 2], "city": ["Oslo", None, "", "Atlantis"]})
    arrays, gaps = fitted().encode_with_gaps(rows)
    assert arrays.keys() == fitted().encode(rows).keys()
    assert gaps.numeric.tolist() == [[False], [True], [True], [False]]
    assert gaps.categorical.tolist() == [[False], [True], [True], [False]]
    assert arrays["categorical"][1:].tolist() == [[0], [0], [0]]
    only_categories = fitted().model_copy(update={"numeric": ()})
    assert only_categories.encode_with_gaps(rows)[1].numeric.shape == (4, 0)


def test_long_columns_are_encoded_as_short_ones_are() -> None:
    """Numbers of one type at once, categories by their distinct values: the same numbers as value by value."""
    rng = np.random.default_rng(0)
    cities = ["Oslo", "Bergen", "Atlantis", "", None]
    columns: dict[str, list[Any]] = {
        "text": [cities[number] for number in rng.integers(0, 5, 2_000)],
        "whole": rng.integers(0, 5, 2_000).tolist(),
        "number": rng.choice([0.5, 1.0, np.nan, 2.0], 2_000).tolist(),
        "truth": (rng.random(2_000) < 0.5).tolist(),
    }
    frame = pd.DataFrame(columns).assign(category=lambda table: table["text"].astype("category"))
    names = list(frame)
    target = ClassTarget(name="y", classes=("a", "b"))
    fit = TablePreprocessing.fit(frame.head(400), numeric=["number", "whole"], categorical=names, target=target)
    arrays, gaps = fit.encode_with_gaps(frame)
    parts = [fit.encode_with_gaps(frame.iloc[start : start + 50]) for start in range(0, 2_000, 50)]
    mixed = fit.encode_with_gaps(frame.astype(object))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, np.concatenate([part[0][name] for part in parts]))
    np.testing.assert_array_equal(arrays["numeric"], mixed[0]["numeric"])
    np.testing.assert_array_equal(gaps.categorical, np.concatenate([part[1].categorical for part in parts]))
    np.testing.assert_array_equal(gaps.numeric, mixed[1].numeric)


def test_a_column_without_a_value_in_train_says_so_and_others_are_written_as_ever() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0], "none": [None, None]})
    fit = TablePreprocessing.fit(
        frame, numeric=["age", "none"], categorical=[], target=ClassTarget(name="y", classes=("a", "b"))
    )
    age, none = fit.model_dump(mode="json")["numeric"]
    assert "empty" not in age and none["empty"] is True
    assert TablePreprocessing.model_validate(fit.model_dump(mode="json")) == fit


def test_schema_lists_inputs_and_outputs() -> None:
    schema = fitted().schema()
    assert [c["name"] for c in schema["inputs"]] == ["age", "city"]
    assert [c["name"] for c in schema["outputs"]] == ["prediction", "probability", "probability[a]", "probability[b]"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["1", "lots"], r"`age` is 'lots' in data row 1 \(the first is 0\); allowed: a number such as"),
        (["44,400", None], r"'44,400' in data row 0"),
        ([True, "yes"], r"'yes' in data row 1"),
        ([1.0, np.inf], r"inf in data row 1"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), r"Timestamp\('2024-01-01 00:00:00'\) in data row 0"),
    ],
)
def test_what_is_no_number_is_refused_and_named(values: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        fitted().encode(pd.DataFrame({"age": values, "city": "Oslo"}))


def test_the_row_is_named_by_its_own_label() -> None:
    rows = pd.DataFrame({"age": ["1", "lots"], "city": "Oslo"}, index=["ann", "bob"])
    with pytest.raises(DataError, match="'lots' in the row labelled 'bob'"):
        fitted().encode(rows)


def test_missing_numbers_are_missing_in_every_form() -> None:
    rows = pd.DataFrame({"age": pd.Series([None, np.nan, pd.NA, "", " ", "NaN", "7"], dtype=object), "city": "Oslo"})
    assert fitted().encode(rows)["numeric"][:, 1].tolist() == [1, 1, 1, 1, 1, 1, 0]


anything = st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(), st.booleans())
numeric = st.one_of(st.none(), st.just(""), st.integers(), st.floats(-1e99, 1e99), st.booleans())
tables = frames.data_frames(
    [frames.column("age", elements=numeric, dtype=object), frames.column("city", elements=anything, dtype=object)],
    index=frames.range_indexes(min_size=1, max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(train=tables, rows=tables)
def test_encode_is_deterministic_survives_json_and_never_raises(train: pd.DataFrame, rows: pd.DataFrame) -> None:
    target = ClassTarget(name="y", classes=("a", "b"))
    preprocessing = TablePreprocessing.fit(train, numeric=["age"], categorical=["city"], target=target)
    restored = load_preprocessing(preprocessing.model_dump_json())
    first, second, third = preprocessing.encode(rows), preprocessing.encode(rows), restored.encode(rows)
    assert restored == preprocessing
    for name in ("numeric", "categorical"):
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(first[name], third[name])
    assert np.isfinite(first["numeric"]).all()
    assert (first["categorical"] >= 0).all() and (first["categorical"] < preprocessing.cardinalities[0]).all()
