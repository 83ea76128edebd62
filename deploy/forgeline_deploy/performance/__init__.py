"""Performance where labels do not arrive: estimated from how sure the model is, with an interval and its doubts."""

from __future__ import annotations

from forgeline_deploy.performance.estimated import Estimated as Estimated
from forgeline_deploy.performance.estimated import text_of as text_of
from forgeline_deploy.performance.estimated import warnings_of as warnings_of
from forgeline_deploy.performance.estimator import Estimator as Estimator

__all__ = ["Estimated", "Estimator", "text_of", "warnings_of"]
