"""What anomalies by principal components are held against: the number of them is chosen on val alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bars, zoo_autoencoders


def batch(*, hidden: int, anomalous: int, rows: int = 200) -> dict[str, Any]:
    """Pictures that vary in `hidden` directions; half of them, the anomalies, in `anomalous` further ones."""
    generator = np.random.default_rng(hidden * 100 + anomalous)
    target = np.arange(rows) % 2 if anomalous else np.zeros(rows, dtype=np.int64)
    image = np.zeros((rows, 80))
    image[:, :hidden] = generator.normal(size=(rows, hidden)) * 3
    image[:, hidden : hidden + anomalous] += target[:, None] * generator.normal(size=(rows, anomalous))
    return {"image": image.reshape(rows, 1, 8, 10), "target": target}


def test_the_number_of_components_is_the_best_one_on_val(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 8 of 16 components what is normal is missed, with all 16 an anomaly alone is."""
    train, val, test = batch(hidden=16, anomalous=0), batch(hidden=16, anomalous=4), batch(hidden=16, anomalous=5)
    told = val | {"target": np.where(val["target"], 7, 2)}  # digits
    swapped = test | {"target": 1 - test["target"]}

    def splits(spec: Path, change: dict[str, Any], *names: str) -> list[dict[str, Any]]:
        if "val" in names:
            return [told if change.get("data.task") else val | {"target": np.zeros(200)}]
        return [train, test]

    monkeypatch.setattr(zoo_autoencoders, "whole_splits", splits)
    found = zoo_autoencoders.pca_auroc(Path("a.yaml"), {"data.normal": [2]})
    assert found == pytest.approx(1.0)
    test = swapped
    assert zoo_autoencoders.pca_auroc(Path("a.yaml"), {"data.normal": [2]}) == pytest.approx(0.0), "test has no say"
    monkeypatch.setattr(zoo_autoencoders, "COMPONENTS", (8,))
    assert zoo_autoencoders.pca_auroc(Path("a.yaml"), {"data.normal": [2]}) > 0.1


def test_val_of_the_reference_is_that_of_the_spec_with_the_other_digits() -> None:
    spec, change = bars.SPECS / "zoo" / "autoencoder.yaml", {"data.normal": [4]}
    (own,) = bars.whole_splits(spec, change, "val")
    every = zoo_autoencoders._val_with_anomalies(spec, change)
    assert np.array_equal(every["image"][~every["target"]], own["image"]) and every["target"].mean() > 0.85
