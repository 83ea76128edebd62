"""The hook of an ingress: somebody outside says which versions it sends requests to, and hears what became of them."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from forgeline_deploy.serving.ingress import LaneOrder
    from forgeline_deploy.serving.traffic import Answered, Traffic


class Steered(Protocol):
    """An ingress, for whoever steers it; on the ingress's own event loop."""

    @property
    def incarnation(self) -> str:
        """Unlike that of any other ingress, also of one that takes this one's place."""

    @property
    def versions(self) -> Set[str]:
        """Those that requests can go to."""

    async def open(self, order: LaneOrder) -> None:
        """Let requests go to a further version, whose replicas are up."""

    async def close(self, version: str) -> None:
        """Let none go to it any more, and return when those that it has are answered."""

    def route(self, traffic: Traffic) -> None:
        """Choose by another object from now on."""


class Steering(Protocol):
    """Steers one ingress, on its event loop."""

    async def first(self) -> None:
        """Return when the ingress has what it needs to answer."""

    async def run(self) -> None:
        """Go on steering for as long as the ingress lives."""

    def answered(self, answer: Answered) -> None:
        """Told of every answer after it was given, shadows' included."""

    def refused(self, version: str, arrival: float, status: int, place: str | None) -> None:
        """Told of every request to a model that was refused with 4xx, and the place in it that was wrong.

        The place is an input of the model or a fixed name, never one that a client chose; see `places`.
        """

    async def close(self) -> None:
        """Tell what is left to tell: all requests are answered, and the ingress is about to end."""

    async def page(self) -> dict[str, Any]:
        """What `/monitor.json` answers."""


SteeringFactory = Callable[[Steered], Steering]
"""Makes the steering of an ingress; is sent to it, so that it must be importable there."""
