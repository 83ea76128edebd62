"""Series: windows in the order of time, gaps closed by the past, lengths beside what is filled up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ScaledTarget, SeriesPreprocessing, load_preprocessing
from forgeline.preprocessing.series import fill_forward

FORECAST = SeriesPreprocessing(
    channels=("y",),
    mean=(0.0,),
    std=(1.0,),
    window=2,
    horizon=1,
    time="t",
    target=ScaledTarget(names=("y",), mean=(0.0,), std=(1.0,), horizon=1),
)
CLASSES = SeriesPreprocessing(
    channels=("c",),
    mean=(0.0,),
    std=(1.0,),
    window=4,
    varied=True,
    target=ClassTarget(name="label", classes=("a", "b")),
)


def test_windows_follow_time_and_not_the_file() -> None:
    table = pd.DataFrame({"t": [3, 1, 2], "y": [30, 10, 20]})
    assert FORECAST.encode(table)["series"][..., 0].tolist() == [[10, 20], [20, 30]]
    assert FORECAST.row_labels(table)["t"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["2020-01-01", "oops", "2020-01-03"], r"`t` is 'oops' in data row 1"),
        (["2020-01-01", "2020-01-02", "2020-01-01"], r"`t` has 2020-01-01 .* more than once"),
    ],
)
def test_a_row_whose_place_in_time_is_unknown_is_refused(times: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        FORECAST.encode(pd.DataFrame({"t": times, "y": [1, 2, 3]}))


def test_too_few_rows_and_missing_columns() -> None:
    with pytest.raises(DataError, match="has 1 rows; a forecast needs the last 2"):
        FORECAST.encode(pd.DataFrame({"t": [1], "y": [1]}))
    with pytest.raises(DataError, match="no column 'y'"):
        FORECAST.encode(pd.DataFrame({"t": [1]}))


def test_gaps_take_the_last_known_value() -> None:
    values = np.asarray([[np.nan], [1.0], [np.nan], [3.0]])
    np.testing.assert_array_equal(fill_forward(values)[:, 0], [np.nan, 1, 1, 3])


def test_series_of_different_lengths() -> None:
    encoded = CLASSES.encode([[1, 2], [1, 2, 3, 4]])
    assert encoded["length"].tolist() == [2, 4]
    assert encoded["series"][0, :, 0].tolist() == [1, 2, 0, 0]
    with pytest.raises(DataError, match="series of 5 steps; the model takes up to 4"):
        CLASSES.encode(np.zeros((1, 5, 1)))


def test_a_file_with_labels_can_be_predicted() -> None:
    table = pd.DataFrame({"label": ["a"], "s0": [1], "s1": [2], "s2": [3], "s3": [4]})
    assert CLASSES.encode(table)["series"][0, :, 0].tolist() == [1, 2, 3, 4]


@settings(max_examples=40)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
        elements=st.one_of(st.floats(-1e9, 1e9), st.just(np.nan)),
    )
)
def test_encode_is_finite_and_survives_json(values: np.ndarray) -> None:
    restored = load_preprocessing(FORECAST.model_dump_json())
    first = FORECAST.encode(values)["series"]
    np.testing.assert_array_equal(first, restored.encode(values)["series"])
    assert np.isfinite(first).all() and first.shape == (len(values), 2, 1)
