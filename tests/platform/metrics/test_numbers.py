"""Metrics of regressions, forecasts and language models, against torchmetrics and their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline import metrics
from forgeline.errors import ForgelineError

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(2, 50), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_regression_equals_torchmetrics_and_scikit_learn(seed: int, rows: int, wide: int) -> None:
    import torch
    from sklearn.metrics import r2_score  # torchmetrics leaves a target out that hardly varies
    from torchmetrics.functional import mean_absolute_error, mean_squared_error

    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(rows, wide)) * 5
    predictions = targets + rng.normal(size=(rows, wide))
    values = metrics.compute("regression", predictions, targets)
    ours, truth = torch.tensor(predictions), torch.tensor(targets)
    assert values["mse"] == pytest.approx(float(mean_squared_error(ours, truth)), rel=1e-5)
    assert values["mae"] == pytest.approx(float(mean_absolute_error(ours, truth)), rel=1e-5)
    assert values["rmse"] == pytest.approx(math.sqrt(values["mse"]))
    assert values["r2"] == pytest.approx(r2_score(targets, predictions), rel=1e-5, abs=1e-6)


def test_r2_survives_a_large_mean() -> None:
    """A target far from zero: where float32 sums of squares lose everything."""
    rng = np.random.default_rng(0)
    targets = 1e6 + rng.normal(size=(200, 1))
    predictions = targets + 0.1 * rng.normal(size=(200, 1))
    shifted = metrics.compute("regression", predictions - 1e6, targets - 1e6)
    assert metrics.compute("regression", predictions, targets)["r2"] == pytest.approx(shifted["r2"], abs=1e-9)


def test_predicting_the_mean_has_r2_zero_and_one_sample_has_none() -> None:
    targets = np.array([[1.0], [2.0], [6.0]])
    assert metrics.compute("regression", np.full_like(targets, 3.0), targets)["r2"] == pytest.approx(0.0)
    assert "r2" not in metrics.compute("regression", targets[:1], targets[:1])


@given(seeds, st.integers(3, 60))
@settings(max_examples=40, deadline=None)
def test_the_naive_forecast_of_train_itself_has_mase_one(seed: int, length: int) -> None:
    """Hyndman & Koehler 2006: the scaled error of the naive method within its own sample is 1 by construction."""
    series = np.random.default_rng(seed).normal(size=length).cumsum()
    values = metrics.compute(
        "forecasting", series[:-1, None, None], series[1:, None, None], naive_mae=metrics.naive_mae(series)
    )
    assert values["mase"] == pytest.approx(1.0)
    assert values["mase"] == pytest.approx(values["mae"] / metrics.naive_mae(series))


def test_mase_of_several_targets_scales_each_by_its_own() -> None:
    targets = np.zeros((4, 2, 2))
    predictions = targets + np.array([1.0, 10.0])
    assert metrics.compute("forecasting", predictions, targets, naive_mae=[1.0, 10.0])["mase"] == pytest.approx(1.0)
    assert "mase" not in metrics.compute("forecasting", predictions, targets, naive_mae=[1.0, 0.0])
    assert "mase" not in metrics.compute("forecasting", predictions, targets)


def test_seasonal_naive_error_and_a_series_too_short() -> None:
    assert metrics.naive_mae(np.array([1.0, 5.0, 2.0, 6.0]), season=2) == 1.0
    with pytest.raises(ValueError, match="more than 2 values, got 2"):
        metrics.naive_mae(np.zeros(2), season=2)


def test_language_model_metrics() -> None:
    """A uniform model over 8 symbols: perplexity 8, three bits."""
    values = metrics.compute("language_modelling", None, None, loss=math.log(8), tokens_per_character=1.0)
    assert values == pytest.approx({"loss": math.log(8), "perplexity": 8.0, "bits_per_character": 3.0})
    halved = metrics.compute("language_modelling", None, None, loss=math.log(8), tokens_per_character=0.5)
    assert halved["bits_per_character"] == pytest.approx(1.5)
    assert "bits_per_character" not in metrics.compute("language_modelling", None, None, loss=1.0)
    assert math.isfinite(metrics.compute("language_modelling", None, None, loss=1e5)["perplexity"])


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ForgelineError, match="by its loss alone"):
        metrics.compute("language_modelling", None, None)
    with pytest.raises(ForgelineError, match="outputs and targets"):
        metrics.compute("regression", None, None)
    with pytest.raises(ForgelineError, match=r"\(3, 1\), got \(3,\)"):
        metrics.compute("regression", np.zeros((3, 1)), np.zeros(3))
