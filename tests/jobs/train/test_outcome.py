"""The bundle that a training leaves behind describes the rows that it was trained on, and no others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.observer import observe
from forgeline.distributions import NumericCounts, NumericReference


def test_reference_statistics_are_of_the_train_rows(wine_bundle: Path) -> None:
    from sklearn.datasets import load_wine

    bundle = Bundle.load(wine_bundle)
    assert bundle.data is not None and bundle.reference is not None
    samples, reference = bundle.data.summary["samples"], bundle.reference
    assert reference.samples == samples["train"] < sum(samples.values())
    wines: pd.DataFrame = load_wine(as_frame=True).data.rename(columns=lambda name: str(name).replace(" ", "_"))
    seen = observe(bundle, wines, outputs=False)
    assert seen.rows == sum(samples.values())
    for name, known in reference.inputs.items():
        counts = seen.inputs[name]
        assert isinstance(known, NumericReference) and isinstance(counts, NumericCounts)
        assert sum(known.counts) == samples["train"] and 32 <= len(known.counts) <= 64
        assert (counts.bins >= known.counts).all(), "the train rows are among all rows, each in its bin"
    assert sum(reference.outputs["prediction"].counts.values()) == samples["val"]  # type: ignore[union-attr]
    calibration = reference.calibration
    assert calibration is not None and sum(calibration.rows) == samples["val"]
    assert sum(calibration.correct) / samples["val"] == pytest.approx(bundle.metrics["val/accuracy"])
