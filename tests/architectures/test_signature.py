"""A signature refuses what cannot be."""

from __future__ import annotations

import pytest

from forgeline_architectures import Signature

NUMERIC = {"numeric": {"shape": [3], "dtype": "float32"}}
CATEGORICAL = {"categorical": {"shape": [2], "dtype": "int64"}}


def test_round_trips_through_json() -> None:
    signature = Signature.model_validate(
        {"task": "regression", "inputs": NUMERIC | CATEGORICAL, "outputs": [1], "cardinalities": [3, 4]}
    )
    assert Signature.model_validate_json(signature.model_dump_json()) == signature


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "forecasting"}, r"outputs of forecasting are \(horizon, targets\), got 1 numbers"),
        ({"task": "classification"}, "at least 2 classes"),
        ({"inputs": NUMERIC | CATEGORICAL}, "got 0 for 2 columns"),
        ({"cardinalities": [3]}, "got 1 for 0 columns"),
        ({"inputs": {}}, "at least 1 item"),
        ({"task": "clustering"}, "Input should be 'classification'"),
    ],
)
def test_refuses(changes: dict[str, object], message: str) -> None:
    whole = {"task": "regression", "inputs": NUMERIC, "outputs": [1], **changes}
    with pytest.raises(ValueError, match=message):
        Signature.model_validate(whole)


IMAGE = {"image": {"shape": [1, 8, 8], "dtype": "float32"}}
LABEL = {"label": {"shape": [], "dtype": "int64"}}


def test_a_generator_learns_the_input_that_is_no_condition() -> None:
    whole = {"task": "generation", "inputs": IMAGE | LABEL, "outputs": [1, 8, 8], "conditions": {"label": 3}}
    assert Signature.model_validate(whole).learnt == "image"
    with pytest.raises(ValueError, match="not regression"):
        Signature.model_validate({"task": "regression", "inputs": NUMERIC, "outputs": [1]}).learnt  # noqa: B018


def test_a_source_is_translated_and_not_learnt() -> None:
    inputs = IMAGE | {"photo": IMAGE["image"]} | LABEL
    told = {"task": "generation", "inputs": inputs, "outputs": [1, 8, 8], "conditions": {"label": 2}, "source": "photo"}
    assert Signature.model_validate(told).learnt == "image"
    assert Signature.model_validate(told).asked == ("label", "photo")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "regression", "outputs": [1]}, "conditions and source are for generation"),
        ({"conditions": {}}, r"one input, got \['image', 'label'\]"),
        ({"conditions": {"caption": 5}}, "'caption' must be an input of int64; inputs are image, label"),
        ({"conditions": {"image": 5}}, "'image' must be an input of int64"),
        ({"outputs": [1, 8, 9]}, "must have the shape of 'image'"),
        ({"source": "picture"}, "source 'picture' must be an input of the type and shape of 'image'"),
    ],
)
def test_refuses_what_cannot_be_generated(changes: dict[str, object], message: str) -> None:
    whole = {"task": "generation", "inputs": IMAGE | LABEL, "outputs": [1, 8, 8], "conditions": {"label": 3}, **changes}
    with pytest.raises(ValueError, match=message):
        Signature.model_validate(whole)
