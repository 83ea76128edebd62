"""Whether rows that a model is asked about still look like those that it was trained on."""

from __future__ import annotations

from forgeline_deploy.drift.report import DriftReport as DriftReport
from forgeline_deploy.drift.report import FeatureDrift as FeatureDrift
from forgeline_deploy.drift.report import check_data as check_data
from forgeline_deploy.drift.report import compare as compare

__all__ = ["DriftReport", "FeatureDrift", "check_data", "compare"]
