"""New rows in the bins of the reference: the training rows themselves give its counts, and parts give the whole."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import check_observable, observe
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference
from forgeline.errors import DataError, UsageError

NUMERIC: dict[str, Any] = {
    "kind": "numeric", "bins": [1], "below": 0, "above": 0, "missing": 0, "steps": 5, "minimum": 1.0, "maximum": 1.0,
}  # fmt: skip


def test_the_training_rows_have_the_counts_of_the_reference(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    reference = check_observable(table_bundle)
    seen = observe(table_bundle, customers)
    assert seen.rows == reference.samples == 200 and seen.inputs.keys() == reference.inputs.keys()
    for name, counts in seen.inputs.items():
        known = reference.inputs[name]
        assert counts.missing == known.missing
        if isinstance(known, NumericReference):
            assert isinstance(counts, NumericCounts)
            assert (counts.below, counts.bins.tolist(), counts.above) == (0, list(known.counts), 0)
            assert counts.shift_std == pytest.approx(0, abs=1e-6)
        else:
            assert isinstance(counts, CategoricalCounts) and isinstance(known, CategoricalReference)
            assert counts.known.tolist() == list(known.counts.values()) and counts.other == 0
    assert seen.outputs.keys() == {"prediction", "probability", "probability[yes]", "entropy"}
    assert all(counts.rows == 200 for counts in seen.outputs.values())


def test_parts_are_one_observation(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    shuffled = customers.iloc[rng.permutation(len(customers))]
    places = np.array_split(np.arange(200), 7)
    parts = [observe(table_bundle, shuffled.iloc[rows], outputs=False) for rows in places]
    assert reduce(add, parts) == observe(table_bundle, customers, outputs=False)
    with pytest.raises(ValueError, match="not of one model"):
        parts[0] + observe(table_bundle, customers)


def test_what_is_missing_and_what_is_unknown_are_told_apart(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    """The model sees the median in the place of a missing age, and takes an unknown plan for a missing one."""
    changed = customers.head(20).assign(age=[None] * 5 + [40] * 15, plan=["new"] * 3 + [None] * 2 + ["pro"] * 15)
    seen = observe(table_bundle, changed, outputs=False)
    plan = seen.inputs["plan"]
    assert isinstance(plan, CategoricalCounts)
    assert seen.inputs["age"].missing == 5
    assert (plan.other, plan.missing, plan.known.sum()) == (3, 2, 15)


def test_what_cannot_be_observed_is_refused(
    table_bundle: Bundle, image_bundle: Bundle, bundle_without_reference: Bundle, customers: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match="no column 'plan'"):
        observe(table_bundle, customers.drop(columns="plan"))
    with pytest.raises(UsageError, match="has no reference statistics"):
        check_observable(image_bundle)
    with pytest.raises(UsageError, match="has no reference statistics"):
        check_observable(bundle_without_reference)


def test_an_observation_is_json(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    seen = observe(table_bundle, customers)
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))) == seen
    assert Observation.from_bytes(seen.to_bytes()) == seen
    reference = check_observable(table_bundle)
    seen.check_fits(reference)
    infinite = NumericReference.of(np.arange(9.0)).count(np.array([np.inf, -np.inf, 3.0]))
    assert NumericCounts.from_json(json.loads(json.dumps(infinite.to_json(), allow_nan=False))) == infinite
    with pytest.raises(DataError, match="'age' are numbers in 9 bins; the reference statistics have numbers in"):
        Observation(rows=3, inputs={"age": infinite}).check_fits(reference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": -1}, "rows: Input should be greater"),
        ({"format": 2}, "format 2; allowed: 1"),
        ({"more": 1}, "more: Extra"),
        ({"inputs": {"age": {"kind": "strange"}}}, "'age': these are no counts: kind"),
        ({"inputs": {"age": {"kind": "categorical", "known": [1.5], "other": 0, "missing": 0}}}, "known.0"),
        ({"inputs": {"age": {**NUMERIC, "steps": 2**31}}}, "steps are more than 1 values can have"),
        ({"inputs": {"age": {**NUMERIC, "minimum": None}}}, "1 values have a minimum"),
        ({"inputs": {"age": {**NUMERIC, "maximum": "nan"}}}, "in this order"),
        ({"inputs": {"age": {**NUMERIC, "bins": [2**60]}}}, "bins.0"),
    ],
)
def test_an_observation_from_elsewhere_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Observation.from_json({"format": 1, "rows": 1, "inputs": {"age": NUMERIC}, "outputs": {}} | change)


def test_bytes_that_are_no_observation_are_refused() -> None:
    for content in (b"[" * 100_000, b"{", b"\xff", b"[]"):
        with pytest.raises(DataError, match="an observation"):
            Observation.from_bytes(content)


@pytest.fixture
def bundle_without_reference(table_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.save(
        tmp_path_factory.mktemp("bare") / "bundle",
        model_state=table_bundle.model.state_dict(),
        architecture=table_bundle.manifest.architecture,
        signature=table_bundle.manifest.signature,
        preprocessing=table_bundle.preprocessing,
    )
