"""How a challenger takes over from the champion, or does not: steps, a comparison that may be looked at any time."""

from __future__ import annotations

from forgeline_deploy.rollout.counting import Counting as Counting
from forgeline_deploy.rollout.evidence import Evidence as Evidence
from forgeline_deploy.rollout.evidence import StepCounts as StepCounts
from forgeline_deploy.rollout.losses import LossScale as LossScale
from forgeline_deploy.rollout.rollout import Rollout as Rollout
from forgeline_deploy.rollout.rollout import begin as begin
from forgeline_deploy.rollout.settling import settle as settle
from forgeline_deploy.rollout.spec import CompareConfig as CompareConfig
from forgeline_deploy.rollout.spec import GuardConfig as GuardConfig
from forgeline_deploy.rollout.spec import RolloutConfig as RolloutConfig
from forgeline_deploy.rollout.split import Split as Split
from forgeline_deploy.rollout.split import choose as choose

__all__ = [
    "CompareConfig",
    "Counting",
    "Evidence",
    "GuardConfig",
    "LossScale",
    "Rollout",
    "RolloutConfig",
    "Split",
    "StepCounts",
    "begin",
    "choose",
    "settle",
]
