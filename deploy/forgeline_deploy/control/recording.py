"""How the replicas of a deployment record: by the policy of its monitor, to its controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgeline_deploy.control.controller import ask_controller
from forgeline_deploy.monitor.recording import ReplicaRecording
from forgeline_deploy.monitor.spec import MonitorConfig

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline_deploy.serving import ReplicaIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingOrder:
    """Makes the recorder of a replica; is sent to it.

    Attributes:
        policy: `monitor` of the deployment without what only the controller reads, resolved.
    """

    policy: Mapping[str, Any]

    def __call__(self, bundle: Bundle, identity: ReplicaIdentity) -> ReplicaRecording:
        return ReplicaRecording(
            bundle,
            replica=identity.replica,
            version=identity.version,
            config=MonitorConfig.model_validate(dict(self.policy)),
            send=lambda delivery: ask_controller(identity.deployment, "deliver", delivery),
        )
