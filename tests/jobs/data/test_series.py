"""A user's series: forecasts in the order of time, labelled series, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.errors import DataError
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.sources import SERIES

ROWS = 100


def table() -> pd.DataFrame:
    steps = np.arange(ROWS)
    days = pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "load": 50.0 + steps, "wind": np.sin(steps)})


def prepare(tmp_path: Path, frame: pd.DataFrame | None = None, **settings: Any) -> PreparedData:
    path = tmp_path / "s.csv"
    (table() if frame is None else frame).to_csv(path, index=False)
    given = {"name": "series", "path": str(path), "batch_size": 4, **settings}
    return SERIES.prepare(SERIES.config_model().model_validate(given))


def forecast(tmp_path: Path, frame: pd.DataFrame | None = None, **settings: Any) -> PreparedData:
    return prepare(tmp_path, frame, **{"target": "load", "time": "day", "window": 5, "horizon": 2, **settings})


def test_windows_never_reach_into_the_future(tmp_path: Path) -> None:
    shuffled = table().sample(frac=1, random_state=0)
    data = forecast(tmp_path, shuffled, features=["wind"])
    assert data.signature.inputs["series"].shape == (5, 2) and data.signature.outputs == (2, 1)
    ends = []
    for name in ("train", "val", "test"):
        batch = data.splits[name].batch(np.arange(len(data.splits[name])))
        past = batch["series"][..., 0].astype(np.float64) * data.preprocessing.std[0] + data.preprocessing.mean[0]  # type: ignore[union-attr]
        future = data.preprocessing.unscale(batch["target"])[..., 0]
        np.testing.assert_allclose(future[:, 0], past[:, -1] + 1, atol=1e-3)
        ends.append((future.min(), future.max()))
    assert ends[0][1] < ends[1][0] and ends[1][1] < ends[2][0], "targets of the splits do not mix"
    assert round(ends[2][1]) == 149
    assert data.preprocessing.naive_mae == pytest.approx(1.0)  # type: ignore[union-attr]


def test_scale_comes_from_train_only(tmp_path: Path) -> None:
    data = forecast(tmp_path)
    assert data.preprocessing.target_mean == pytest.approx((50 + np.arange(70).mean(),))


def test_gaps_in_a_feature_are_closed_by_the_past(tmp_path: Path) -> None:
    frame = table()
    frame.loc[10, "wind"] = np.nan
    data = forecast(tmp_path, frame, features=["wind"])
    wind = data.splits["train"].batch(np.asarray([6]))["series"][0, :, 1]
    assert wind[4] == wind[3]


def test_predicting_a_file_names_the_last_known_time(tmp_path: Path) -> None:
    data = forecast(tmp_path)
    raw = data.preprocessing.read(tmp_path / "s.csv")
    assert len(data.preprocessing.encode(raw)["series"]) == ROWS - 4
    assert data.preprocessing.row_labels(raw)["day"].iloc[-1] == table()["day"].iloc[-1]


@pytest.mark.parametrize(
    ("change", "settings", "key", "message"),
    [
        ({}, {"target": "laod"}, "data.target", "did you mean `load`"),
        ({}, {"time": "dat"}, "data.time", "did you mean `day`"),
        ({}, {"features": ["rain"]}, "data.features", "no column 'rain'"),
        ({}, {"features": ["word"]}, "data.features", "no column 'word'"),
        ({"load": [1.0, np.nan] * 50}, {}, "data.target", "missing (NaN) in 50 of 100 rows"),
        ({"load": 3.0}, {}, "data.target", "never changes"),
        ({"day": "2024-01-01"}, {}, "data.time", "more than once"),
        (
            {"day": ["soon", *["2024-01-01"] * 99]},
            {},
            "data.time",
            "'soon' in data row 0 (the first is 0), wanted a time or a number",
        ),
        ({"wind": ["calm"] * 100}, {"features": ["wind"]}, "data.features", "'calm' in data row 0 (the first is 0)"),
        ({}, {"window": 90}, "data.window", "too few for a window of 90"),
        ({}, {"horizon": 15}, "data.horizon", "too few"),
    ],
)
def test_forecast_refusals(
    tmp_path: Path, change: dict[str, Any], settings: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        forecast(tmp_path, table().assign(**change), **settings)
    assert (caught.value.key, message in caught.value.message) == (key, True), caught.value.message


def labelled() -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 6)), columns=[f"s{i}" for i in range(6)])
    return frame.assign(kind=np.where(np.arange(40) % 2, "up", "down"))


def test_labelled_series_from_csv_and_npz(tmp_path: Path) -> None:
    data = prepare(tmp_path, labelled(), label="kind", augment={"noise": 0.1})
    assert data.signature.inputs["series"].shape == (6, 1) and data.preprocessing.classes == ("down", "up")
    series = labelled().drop(columns="kind").to_numpy()
    np.savez(tmp_path / "s.npz", series=series, labels=labelled()["kind"].to_numpy().astype(str))
    other = prepare(tmp_path, path=str(tmp_path / "s.npz"))
    assert other.fingerprint == data.fingerprint


def test_series_of_different_lengths_come_with_their_length(tmp_path: Path) -> None:
    frame = labelled()
    frame.loc[0, ["s4", "s5"]] = np.nan
    data = prepare(tmp_path, frame, label="kind")
    assert data.signature.inputs["length"].shape == ()
    lengths = [data.splits[n].batch(np.arange(len(data.splits[n])))["length"] for n in ("train", "val", "test")]
    assert sorted(np.concatenate(lengths).tolist()) == [4] + [6] * 39


@pytest.mark.parametrize(
    ("change", "settings", "key", "message"),
    [
        ({}, {"label": "kin"}, "data.label", "did you mean `kind`"),
        ({"kind": "up"}, {}, "data.label", "single class"),
        ({"kind": ["odd", *["up", "down"] * 19, "up"]}, {}, "data.label", "class 'odd' has 1 sample"),
        ({"s1": "x"}, {}, "data.features", "'x' in data row 0 (the first is 0)"),
    ],
)
def test_classification_refusals(
    tmp_path: Path, change: dict[str, Any], settings: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, labelled().assign(**change), **{"label": "kind", **settings})
    assert (caught.value.key, message in caught.value.message) == (key, True), caught.value.message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name either the target"),
        ({"target": "a", "label": "b"}, "exclude each other"),
        ({"target": "a", "features": ["a"]}, "remove it from features"),
        ({"target": "a", "augment": {"noise": 1}}, "augment is for the classification"),
        ({"target": "a", "class_weights": "balanced"}, "class_weights is for the classification"),
        ({"label": "a", "features": ["b"]}, "features is for forecasts"),
        ({"label": "a", "window": 5}, "window is for forecasts"),
    ],
)
def test_settings_that_contradict(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SERIES.config_model().model_validate({"name": "series", "path": "x.csv", **settings})
