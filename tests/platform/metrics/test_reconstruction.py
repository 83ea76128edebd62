"""Decibels and the area under the curve against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forgeline import metrics
from forgeline.errors import ForgelineError

ERRORS = np.array([[0.01, 0.1], [0.001, 0.1], [0.1, 0.2]], dtype=np.float32)


def test_decibels_are_meant_over_the_samples() -> None:
    found = metrics.compute("reconstruction", ERRORS, np.zeros(3, dtype=np.int64), loss=0.037)
    assert found["psnr"] == pytest.approx((20 + 30 + 10) / 3, rel=1e-5)
    assert found["psnr_noisy"] == pytest.approx((10 + 10 - 10 * math.log10(0.2)) / 3, rel=1e-5)
    assert found["psnr_gain"] == pytest.approx(found["psnr"] - found["psnr_noisy"])
    assert "anomaly_auroc" not in found, "there is no anomaly"


def test_without_noise_nothing_is_gained() -> None:
    exact = np.array([[0.0, 0.0], [0.01, 0.0]])
    assert metrics.compute("reconstruction", exact, np.zeros(2, dtype=np.int64)) == {"psnr": pytest.approx(60)}


def test_the_area_counts_pairs_in_order() -> None:
    anomalous = np.array([1, 0, 0])
    assert metrics.compute("reconstruction", ERRORS, anomalous)["anomaly_auroc"] == 0.5
    assert metrics.compute("reconstruction", ERRORS, 1 - anomalous)["anomaly_auroc"] == 0.5
    assert metrics.compute("reconstruction", ERRORS, np.array([0, 0, 1]))["anomaly_auroc"] == 1.0


def test_one_target_for_each_sample() -> None:
    with pytest.raises(ForgelineError, match="need targets of shape"):
        metrics.compute("reconstruction", ERRORS, ERRORS)
