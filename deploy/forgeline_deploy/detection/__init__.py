"""The drift alarm: which windows are told apart from the reference, at a promised rate of false alarms."""

from __future__ import annotations

from forgeline_deploy.detection.detector import Detector as Detector
from forgeline_deploy.detection.detector import DetectorState as DetectorState
from forgeline_deploy.detection.hourly import HourlyDetector as HourlyDetector
from forgeline_deploy.detection.spec import Promise as Promise
from forgeline_deploy.detection.spec import Rate as Rate
from forgeline_deploy.detection.spec import Tolerance as Tolerance
from forgeline_deploy.detection.spec import ToleranceSpec as ToleranceSpec
from forgeline_deploy.detection.verdict import FeatureVerdict as FeatureVerdict
from forgeline_deploy.detection.verdict import Verdict as Verdict
from forgeline_deploy.detection.verdict import ranking as ranking

__all__ = [
    "Detector",
    "DetectorState",
    "FeatureVerdict",
    "HourlyDetector",
    "Promise",
    "Rate",
    "Tolerance",
    "ToleranceSpec",
    "Verdict",
    "ranking",
]
