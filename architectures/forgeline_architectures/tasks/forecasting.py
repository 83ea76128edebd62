"""Forecasting: mean squared error over the horizon, all steps ahead at once."""

from __future__ import annotations

from forgeline_architectures.tasks.regression import RegressionModule


class ForecastingModule(RegressionModule):
    """Squared error of standardised values, meant over horizon, targets and samples.

    The horizon is predicted directly, not step by step, so that errors do not feed themselves (Taieb et al. 2012,
    arXiv:1108.3259: the multi-output strategy).
    """
