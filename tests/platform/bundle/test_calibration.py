"""Held-out rows by how sure the model was: counted in the bins that are watched, and checked when read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.calibration import Calibration
from forgeline.distributions import NumericReference
from forgeline.errors import BundleError


def test_rows_are_counted_where_their_probability_is() -> None:
    second = np.array([0.1, 0.2, 0.7, 0.9])
    outputs = np.stack([1 - second, second], axis=1)
    bins = NumericReference(edges=(0.75, 0.85), counts=(1, 1, 2), missing=0, mean=0.8, std=0.1, minimum=0.5, maximum=1)
    found = Calibration.of(bins, outputs, np.array([0, 1, 1, 1]))
    assert found.rows == (1, 1, 2) and found.correct == (1, 0, 2)
    np.testing.assert_allclose(found.probability, (0.7, 0.8, 0.9))
    empty = Calibration.of(bins, outputs[:1], np.array([0]))
    assert empty.rows == (0, 0, 1) and empty.probability[:2] == (0.625, 0.8)


def test_a_classifiers_reference_has_it_in_the_bins_of_its_probability(
    table_bundle: Bundle, customers: pd.DataFrame
) -> None:
    rng = np.random.default_rng(0)
    second = rng.random(200)
    outputs, truth = np.stack([1 - second, second], axis=1), (rng.random(200) < second).astype(np.int64)
    preprocessing = table_bundle.preprocessing
    batches = [preprocessing.encode(customers)]
    made = Reference.of(preprocessing, batches, outputs, targets=truth)
    probability = made.outputs["probability"]
    assert made.calibration is not None and isinstance(probability, NumericReference)
    assert made.calibration.rows == probability.counts
    assert sum(made.calibration.correct) == ((second > 0.5) == truth).sum()
    assert Reference.model_validate_json(made.model_dump_json()) == made
    assert Reference.of(preprocessing, batches, outputs).calibration is None


def test_forecasts_have_none(forecast_bundle: Bundle) -> None:
    values = np.zeros((4, 2, 1))
    assert Reference.of(forecast_bundle.preprocessing, [], values, targets=values).calibration is None


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"rows": [1, 1], "correct": [1, 1], "probability": [0.5, 0.9]}, "calibration has 2 bins"),
        ({"rows": [1], "correct": [2], "probability": [0.5]}, "at most rows"),
        ({"rows": [1], "correct": [1, 1], "probability": [0.5]}, "the same ones"),
        ({"rows": [1], "correct": [1], "probability": [1.5]}, "calibration.probability"),
    ],
)
def test_one_from_elsewhere_is_checked(tmp_path: Path, calibration: dict[str, object], message: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"format": 2, "samples": 1, "inputs": {}, "calibration": calibration}))
    with pytest.raises(BundleError, match=message):
        Reference.read(path)
