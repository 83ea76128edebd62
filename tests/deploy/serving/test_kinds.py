"""Every kind of data over HTTP: series, forecasts, captions and pairs; what each takes, and what it refuses by name."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import UsageError
from forgeline.preprocessing import GraphPreprocessing
from forgeline_deploy.serving.intake import intake_of
from tests.deploy.serving.conftest import ROW, Local
from tests.deploy.serving.test_application import npy, npz, png

NPY, NPZ = {"Content-Type": "application/x-npy"}, {"Content-Type": "application/x-npz"}


def predictions(local: Local, **request: Any) -> list[dict[str, Any]]:
    answer = local.ask("POST", "/predict", **request)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def test_series_of_different_lengths_in_every_form(series: Local) -> None:
    rng = np.random.default_rng(0)
    long, short = rng.normal(size=(6, 2)), rng.normal(size=(3, 2))
    expected = [series.bundle.predict(one[None]).iloc[0].to_dict() for one in (long, short)]
    found = predictions(series, json={"instances": [long.tolist(), short.tolist()]})
    for row, wanted in zip(found, expected, strict=True):
        assert row.pop("prediction") == wanted.pop("prediction")
        assert row == pytest.approx(wanted, abs=1e-6)
    [from_npy] = predictions(series, content=npy(long[None]), headers=NPY)
    [from_npz] = predictions(series, content=npz(series=long[None].astype("f4")), headers=NPZ)
    assert from_npy["prediction"] == from_npz["prediction"] == found[0].get("prediction", from_npy["prediction"])
    assert from_npy["probability[wavy]"] == pytest.approx(found[0]["probability[wavy]"], abs=1e-6)


def test_a_gap_in_a_series_is_null(series: Local) -> None:
    steps: list[Any] = [[1, 2], [None, 3], [4, None]]
    raw = np.asarray(steps, dtype=float)
    [found] = predictions(series, json={"instances": [steps]})
    assert found["probability[flat]"] == pytest.approx(series.bundle.predict(raw[None])["probability[flat]"][0])
    [again] = predictions(series, content=npy(raw[None]), headers=NPY)
    assert again == pytest.approx(found)


def test_a_forecast_of_one_channel_rests_on_the_last_steps(forecasts: Local) -> None:
    flat = [9.0, 1.0, 2.0, 3.0, 4.0]
    [first] = predictions(forecasts, json={"instances": [flat]})
    [second] = predictions(forecasts, json={"instances": [[[value] for value in flat[1:]]]})
    assert first == pytest.approx(second)
    expected = forecasts.bundle.predict(np.asarray(flat[1:])[None]).iloc[0].to_dict()
    assert first == pytest.approx(expected, rel=1e-5)
    answer = forecasts.ask("POST", "/predict", json={"instances": [flat[:3]]})
    assert answer.status_code == 422 and "at least 4 steps" in answer.json()["error"]


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ([[1, 2]] * 7, "1 to 6 steps"),
        ([[1, 2, 3]], "allowed: [t, 2]"),
        ([1, 2], "allowed: [t, 2]"),
        ([], "got the shape [0]"),
        ([[1, 2], [3]], "different lengths"),
        ([[1, "2"]], "allowed: numbers, and null for a gap"),
        ("series", "got the text 'series'"),
        ([[1, 10**400]], "huge"),
    ],
)
def test_a_series_that_is_refused(series: Local, instance: Any, message: str) -> None:
    answer = series.ask("POST", "/predict", json={"instances": [[[0, 0]], instance]})
    assert (answer.status_code, answer.json()["field"]) == (422, "instances[1]"), answer.text
    assert message in answer.json()["error"]


def test_an_array_of_series_is_refused_by_the_place_of_the_series(series: Local) -> None:
    wrong = np.zeros((3, 2, 2))
    wrong[2, 1, 0] = np.inf
    answer = series.ask("POST", "/predict", content=npy(wrong), headers=NPY)
    assert (answer.status_code, answer.json()["field"]) == (422, "body[2][1][0]")
    answer = series.ask("POST", "/predict", content=npz(other=wrong), headers=NPZ)
    assert (answer.status_code, answer.json()["field"]) == (422, "series")


def test_captions_of_pictures_in_every_form(captions: Local) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    expected = captions.bundle.predict(pixels[None])["prediction"][0]
    file = png(pixels)
    for request in (
        {"json": {"instances": [pixels.tolist()]}},
        {"content": file, "headers": {"Content-Type": "image/png"}},
        {"json": {"instances": [{"b64": base64.b64encode(file).decode()}]}},
        {"content": npy(pixels), "headers": NPY},
        {"content": npz(images=pixels[None]), "headers": NPZ},
    ):
        assert predictions(captions, **request) == [{"prediction": expected}]
    answer = captions.ask("POST", "/predict", json={"instances": ["a red dot"]})
    assert answer.status_code == 422 and answer.json()["field"] == "instances"
    assert captions.ask("GET", "/v2/models/model").json()["inputs"][0]["shape"] == [-1, 32, 32, 3]


def test_pairs_are_asked_by_their_source(pairs: Local) -> None:
    expected = list(pairs.bundle.predict(["abc", "é"])["prediction"])
    assert predictions(pairs, json={"instances": ["abc", "é"]}) == [{"prediction": one} for one in expected]
    assert predictions(pairs, content="abc", headers={"Content-Type": "text/plain; charset=utf-8"}) == [
        {"prediction": expected[0]}
    ]
    told = pairs.ask("GET", "/v2/models/model").json()["outputs"]
    assert [one["name"] for one in told] == ["prediction"]


@pytest.mark.parametrize("source", ["abz", "abcabc"])
def test_a_source_that_only_the_model_can_refuse_costs_nobody_else_the_answer(pairs: Local, source: str) -> None:
    requests = [("POST", "/predict", {"json": {"instances": [text]}}) for text in ("abc", source, "ed")]
    answers = pairs.together(requests)
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert "symbol" in answers[1].json()["error"] and answers[1].json()["field"] == "instances"


def test_many_samples_go_through_the_model_in_batches_and_come_back_in_order(table: Local, bundle: Bundle) -> None:
    rows = [ROW | {"age": 20 + number} for number in range(29)]  # max_batch is 8
    sizes: list[int] = []
    sent, table.before = table.before, lambda batch: seen(batch, sizes)
    try:
        found = predictions(table, json={"instances": rows})
    finally:
        table.before = sent
    assert [row["probability[yes]"] for row in found] == pytest.approx(list(bundle.predict(rows)["probability[yes]"]))
    assert sizes == [8, 8, 8, 5]


async def seen(batch: Any, sizes: list[int]) -> None:
    sizes.append(len(batch))


def test_what_is_not_served_is_told_why(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "task", "generation")
    with pytest.raises(UsageError, match="`forgeline sample` draws from it"):
        intake_of(bundle, most_samples=1, most_pixels=1)
    monkeypatch.setattr(Bundle, "task", "classification")
    monkeypatch.setattr(bundle, "preprocessing", GraphPreprocessing.model_construct(), raising=False)
    with pytest.raises(UsageError, match="a graph is predicted as a whole"):
        intake_of(bundle, most_samples=1, most_pixels=1)
