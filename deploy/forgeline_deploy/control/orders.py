"""What the ingress and the controller say to each other, once a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forgeline_deploy.rollout import Evidence, Rollout
from forgeline_deploy.serving.ingress import LaneOrder

if TYPE_CHECKING:
    from forgeline_deploy.monitor import Delivery, Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class IngressReport:
    """What an ingress tells.

    Attributes:
        ingress: an id that no other ingress, and no earlier life of this one, has.
        rollout: id of the rollout that it counted for last; empty without one.
        evidence: all that it has counted for it.
        delivery: requests that failed or were refused, for the windows; None where nothing is monitored.
    """

    ingress: str
    rollout: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    delivery: Delivery | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What an ingress has to do.

    Attributes:
        champion: the version that answers where no rollout says otherwise.
        lanes: versions that requests may go to; others are closed once they have answered what they have.
        rollout: that the traffic follows; None where the champion answers all.
        receipt: of its delivery.
    """

    champion: str
    lanes: Sequence[LaneOrder]
    rollout: Rollout | None = None
    receipt: Receipt | None = None
