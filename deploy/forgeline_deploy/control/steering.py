"""What steers an ingress: once a second it tells the controller what it has counted, and does what that says.

Without the controller it goes on as it was told last. Started again, it answers nothing before it was told once.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgeline_deploy.control.controller import ask_controller
from forgeline_deploy.control.orders import IngressReport, Orders
from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION, RolloutCounts, RolloutTraffic
from forgeline_deploy.monitor import PaneRecorder, Stream
from forgeline_deploy.serving.traffic import Answered, OneVersion, Traffic

if TYPE_CHECKING:
    from forgeline_deploy.serving.steering import Steered

EXCHANGE_S = 1.0
_SERVER_ERROR = 500
_INVALID = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, kw_only=True, slots=True)
class SteeringOrder:
    """How an ingress is steered; is sent to it.

    Attributes:
        deployment: id of the run.
        window_s: length of a window of the monitor in seconds; None where nothing is monitored.
    """

    deployment: str
    window_s: float | None

    def __call__(self, ingress: Steered) -> Steering:
        return Steering(ingress, self)


class Steering:
    """Steers one ingress; all of it runs on the ingress's event loop.

    Args:
        ingress: that is steered.
        order: how.
    """

    def __init__(self, ingress: Steered, order: SteeringOrder) -> None:
        self._ingress = ingress
        self._deployment = order.deployment
        self._champion = ""
        self._counts = RolloutCounts(f"ingress:{ingress.incarnation}")
        self._panes: PaneRecorder | None = None
        if order.window_s is not None:
            self._panes = PaneRecorder(
                replica=f"ingress-{ingress.incarnation}", count=_uncounted, window_s=order.window_s, now=time.time
            )
        self._done: tuple[Any, ...] | None = None
        self._unwanted: set[str] = set()
        self._exchanging = asyncio.Lock()

    async def first(self) -> None:
        """Return when the controller has said what to do."""
        while True:
            try:
                await self._exchange()
                if self._done is not None:
                    return
            except Exception as error:
                print(f"waits for the controller: {type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(EXCHANGE_S)

    async def run(self) -> None:
        """Exchange for as long as the ingress lives."""
        while True:
            await asyncio.sleep(EXCHANGE_S)
            try:
                await self._exchange()
            except Exception as error:
                print(f"the controller does not answer: {type(error).__name__}: {error}", flush=True)

    async def close(self) -> None:
        """Tell the controller what was counted since the last exchange."""
        try:
            # What was told and not confirmed goes first, by itself.
            for _ in range(2):
                await self._exchange()
        except Exception as error:
            print(f"the controller does not hear the end: {type(error).__name__}: {error}", flush=True)

    def answered(self, answer: Answered) -> None:
        """Count what failed; what was answered is counted in the replica."""
        if self._panes is not None and answer.status >= _SERVER_ERROR:
            self._panes.failed(Stream(answer.role, answer.version), [answer.arrival], [answer.seconds])

    def refused(self, version: str, arrival: float, status: int, place: str | None) -> None:
        """Count what was no valid input; a full queue or a missing token says nothing about the data."""
        if self._panes is not None and status in _INVALID:
            role = CHAMPION if version == self._champion else CHALLENGER
            self._panes.refused(Stream(role, version), arrival, str(status) if place is None else f"{status} {place}")

    async def page(self) -> dict[str, Any]:
        """What `/monitor.json` answers.

        Raises:
            Exception: whatever Ray raises while the controller is away.
        """
        found: dict[str, Any] = await asyncio.to_thread(ask_controller, self._deployment, "page")
        return found

    async def _exchange(self) -> None:
        async with self._exchanging:
            await self._follow(await self._told())

    async def _told(self) -> Orders:
        """What the controller says to what was counted."""
        delivery = None if self._panes is None else self._panes.delivery()
        report = IngressReport(
            ingress=self._ingress.incarnation,
            rollout=self._counts.rollout,
            evidence=self._counts.evidence(),
            delivery=delivery,
        )
        orders: Orders = await asyncio.to_thread(ask_controller, self._deployment, "exchange", report)
        if self._panes is not None and orders.receipt is not None:
            self._panes.receive(orders.receipt)
        return orders

    async def _follow(self, orders: Orders) -> None:
        """Open lanes, then let requests go to them; let none go to others any more, then close them."""
        wanted = {lane.version: lane for lane in orders.lanes}
        for version in wanted.keys() - self._ingress.versions:
            await self._ingress.open(wanted[version])
        if orders.champion not in self._ingress.versions:
            return  # its replicas are on their way; the one before it answers until then
        self._champion = orders.champion
        now = self._as_done(orders)
        if now != self._done:
            self._ingress.route(self._traffic(orders))
            self._done = now
        # A request that chose a version a moment ago may still be read: its lane is closed an exchange later.
        unwanted = self._ingress.versions - wanted.keys()
        for version in unwanted & self._unwanted:
            await self._ingress.close(version)
        self._unwanted = unwanted - (unwanted & self._unwanted)

    def _traffic(self, orders: Orders) -> Traffic:
        if orders.rollout is not None and str(orders.rollout.challenger) in self._ingress.versions:
            return RolloutTraffic(orders.rollout, self._counts)
        return OneVersion(orders.champion)

    def _as_done(self, orders: Orders) -> tuple[Any, ...]:
        """What the traffic depends on: routed anew, answers on their way could no longer be held against each other."""
        rollout = orders.rollout
        told = None if rollout is None else (rollout.id, rollout.step, rollout.share, rollout.shadows)
        return orders.champion, told, frozenset(self._ingress.versions)


def _uncounted(batch: Any) -> Any:
    raise AssertionError("an ingress records no batches")
