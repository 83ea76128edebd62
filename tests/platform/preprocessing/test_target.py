"""Targets: labels keep their type on the way out, numbers their units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, ScaledTarget


@pytest.mark.parametrize(
    ("labels", "classes", "decoded"),
    [
        ([10, 2, 2], ("2", "10"), [2, 10]),
        ([1.0, 2.0], ("1", "2"), [1, 2]),
        (["b", "a"], ("a", "b"), ["a", "b"]),
        (["01", "1"], ("01", "1"), ["01", "1"]),
        ([True, False], ("False", "True"), [False, True]),
    ],
)
def test_predictions_have_the_type_of_the_labels(
    labels: list[object], classes: tuple[str, ...], decoded: list[object]
) -> None:
    target = ClassTarget.fit("y", labels)
    assert target.classes == classes
    table = target.decode(np.eye(2))
    assert table["prediction"].tolist() == decoded
    assert table["probability"].tolist() == [1.0, 1.0]


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"'rde' in data row 1 \(the first is 0\) of `y`: did you mean `red`"):
        ClassTarget.fit("y", ["red", "blue"]).encode(["red", "rde"])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_scaling_there_and_back(values: list[float]) -> None:
    column = np.asarray(values)[:, None]
    target = ScaledTarget.fit(["y"], column)
    np.testing.assert_allclose(target.unscale(target.encode(column)), column, rtol=1e-4, atol=1.0)


def test_forecast_columns_name_step_and_target() -> None:
    target = ScaledTarget(names=("a", "b"), mean=(1.0, 2.0), std=(1.0, 1.0), horizon=2)
    table = target.decode(np.zeros((3, 2, 2)))
    assert list(table.columns) == ["prediction[a,t+1]", "prediction[b,t+1]", "prediction[a,t+2]", "prediction[b,t+2]"]
    assert table.iloc[0].tolist() == [1, 2, 1, 2]
    single = ScaledTarget(names=("a",), mean=(0.0,), std=(1.0,), horizon=1)
    assert list(single.decode(np.zeros((1, 1, 1))).columns) == ["prediction[t+1]"]
