"""Models behind HTTP: an ingress that makes batches, and replicas that answer them."""

from __future__ import annotations

from forgeline_deploy.serving.recorder import RecordedBatch as RecordedBatch
from forgeline_deploy.serving.recorder import Recorder as Recorder
from forgeline_deploy.serving.recorder import ReplicaIdentity as ReplicaIdentity
from forgeline_deploy.serving.spec import ServeConfig as ServeConfig
from forgeline_deploy.serving.traffic import Answered as Answered
from forgeline_deploy.serving.traffic import Choice as Choice
from forgeline_deploy.serving.traffic import OneVersion as OneVersion
from forgeline_deploy.serving.traffic import Traffic as Traffic

__all__ = [
    "Answered",
    "Choice",
    "OneVersion",
    "RecordedBatch",
    "Recorder",
    "ReplicaIdentity",
    "ServeConfig",
    "Traffic",
]
