"""The controller of a deployment: an actor that Ray starts again when it dies, with a thread that decides.

Replicas and the ingress call it once a second; nobody waits for it to answer a request. Killed, it is started again and
reads the journal; what it was told and had not stored, it is told again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from forgeline.errors import ForgelineError, RunFailed
from forgeline.ledger.journal import Behind, Superseded
from forgeline_deploy.control.desk import Desk
from forgeline_deploy.serving.stack import NAMESPACE

if TYPE_CHECKING:
    from forgeline.ledger.records import RunRecord
    from forgeline_deploy.control.orders import IngressReport, Orders
    from forgeline_deploy.monitor import Delivery, Receipt

T = TypeVar("T")

TICK_S = 0.5
_STARTS_WITHIN_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ControllerOrder:
    """What a controller is made of.

    Attributes:
        owner: the run, as the driver took it that starts this controller. A controller that Ray starts again, when
            another driver has resumed the run since, must not write in that one's name.
        spec: of the deployment, resolved.
        folder: of the run.
        log: folder for its output; None leaves it where it is.
    """

    owner: RunRecord
    spec: Mapping[str, Any]
    folder: str
    log: str | None = None


class Controller:
    """The class of the actor; see `start_controller`."""

    def __init__(self, order: ControllerOrder) -> None:
        if order.log is not None:
            from forgeline.launching.worker_output import redirect_to_next

            redirect_to_next(Path(order.log))
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        self._order = order
        self._lock = threading.Lock()
        # Made in the thread: a database that is away would end the actor for good, were it asked in here.
        self._desk: Desk | None = None
        self._ended = threading.Event()
        self._over: str | None = None
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    async def deliver(self, delivery: Delivery) -> Receipt | None:
        """Take what a replica counted."""
        return await self._at_the_desk(lambda desk: desk.receive(delivery, time.time()))

    async def exchange(self, report: IngressReport) -> Orders:
        """Take what an ingress tells, and say what it has to do."""
        return await self._at_the_desk(lambda desk: desk.exchange(report, time.time()))

    async def page(self) -> dict[str, Any]:
        """What `/monitor` shows."""
        return await self._at_the_desk(lambda desk: desk.page(time.time()))

    async def ready(self) -> bool:
        """Whether it decides by now.

        Raises:
            ForgelineError: it never will.
        """
        self._check_deciding()
        return self._desk is not None

    async def close(self) -> None:
        """Decide what is left to decide, and nothing more."""
        self._ended.set()
        await asyncio.to_thread(self._thread.join)
        await self._at_the_desk(lambda desk: desk.close(time.time()))

    async def _at_the_desk(self, work: Callable[[Desk], T]) -> T:
        def locked() -> T:
            with self._lock:
                self._check_deciding()
                if self._desk is None:
                    raise ForgelineError("the controller is still on its way up")
                return work(self._desk)

        return await asyncio.to_thread(locked)

    def _check_deciding(self) -> None:
        if self._over is not None:
            raise ForgelineError(f"this controller decides nothing more: {self._over}")

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            try:
                with self._lock:
                    if self._desk is None:
                        self._desk = _desk(self._order)
                    self._desk.tick(time.time())
            except Behind as error:
                print(f"starts again: {error}", flush=True)
                os._exit(1)
            except Superseded as error:
                # Ended, it would be started again, for ever.
                print(f"decides nothing more: {error}", flush=True)
                self._over = str(error)
                self._ended.set()
                if self._desk is not None:
                    self._desk.ask_no_more()
            except Exception:
                traceback.print_exc()


def _desk(order: ControllerOrder) -> Desk:
    from forgeline.ledger.journal import Journal
    from forgeline.ledger.ledger import open_ledger
    from forgeline.registry.models import open_registry
    from forgeline_deploy.deployment.spec import DeploymentSpec
    from forgeline_deploy.retraining.launcher import CommandLauncher

    ledger, owner = open_ledger(), order.owner
    if (now := ledger.get(owner.id)).driver != owner.driver:
        raise Superseded(f"run {owner.id} has another driver: {now.driver_host}, process {now.driver_pid}")
    return Desk(
        DeploymentSpec.model_validate(dict(order.spec)),
        run_id=owner.id,
        journal=Journal(ledger, owner),
        registry=open_registry(),
        launcher=CommandLauncher(ledger),
        folder=Path(order.folder),
        id=uuid4().hex,
        now=time.time(),
        tell=lambda line: print(line, flush=True),
    )


def controller_name(deployment: str) -> str:
    """Name of the actor of a deployment's controller, in the namespace `NAMESPACE`."""
    return f"controller-{deployment}"


def start_controller(order: ControllerOrder) -> Any:
    """Bring a controller up; returns the actor.

    Raises:
        RunFailed: it does not come up.
    """
    import ray

    actor: Any = (
        cast("Any", ray.remote)(Controller)
        .options(
            name=controller_name(order.owner.id),
            namespace=NAMESPACE,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=100,
        )
        .remote(order)
    )
    until = time.monotonic() + _STARTS_WITHIN_S
    try:
        while not ray.get(actor.ready.remote(), timeout=_STARTS_WITHIN_S):
            if time.monotonic() >= until:
                raise RunFailed("the controller does not come up; its log says why", reason="platform_error")
            time.sleep(TICK_S)
    except ray.exceptions.RayError as error:
        reason = str(error).splitlines()[-1]
        raise RunFailed(f"the controller does not come up: {reason}", reason="platform_error") from error
    return actor


def ask_controller(deployment: str, method: str, *arguments: Any, within_s: float = 10.0) -> Any:
    """Call a method of a deployment's controller, from any process of its Ray.

    Raises:
        RayError, ValueError, TimeoutError: it does not answer, or is not there now.
    """
    import ray

    actor = ray.get_actor(controller_name(deployment), namespace=NAMESPACE)
    # Not by `ray.get`, which warns of waiting inside of asynchronous actors; here a thread of its own waits.
    return getattr(actor, method).remote(*arguments).future().result(timeout=within_s)
