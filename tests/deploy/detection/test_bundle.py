"""A model's own statistics, and rows of a table as its replicas count them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from forgeline.bundle import Bundle
from forgeline.bundle.observer import observe
from forgeline_deploy.detection import Detector, ToleranceSpec

Customers = Callable[[int, int], pd.DataFrame]


def test_a_model_that_is_served_is_watched(bundle: Bundle, customers: Customers) -> None:
    """30 windows like the training rows, the last ones with an income that was reported in other units."""
    reference = bundle.reference
    assert reference is not None
    detector = Detector(reference, windows=1_000, tolerance=ToleranceSpec.model_validate({"default": 0}))
    assert {watch.key for watch in detector.watches} > {"input:age", "input:plan", "output:probability"}
    for seed in range(100, 130):
        rows = customers(seed, 100)
        verdict = detector.step(observe(bundle, rows))
        assert not verdict.alarm
    moved = rows.assign(income=rows["income"] * 1.5)
    found = detector.step(observe(bundle, moved))
    assert "income" in [feature.feature for feature in found.alarming]
