"""The ingress: one process that speaks HTTP, makes batches and sends them to Serve's replicas.

- It listens on a port of its own, and Serve's proxy is not started. Behind the proxy a request would pass two processes
  before it reaches the model; here it passes one, and a batch of requests is one call.
- It is an actor of Ray, which starts it again when it dies, and no deployment of Serve: whoever steers it would need a
  handle of Serve, whose thread ends the whole process when Ray is stopped below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Set
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import uvloop

from forgeline.errors import ForgelineError
from forgeline_deploy.serving.front import Front
from forgeline_deploy.serving.intake import intake_of
from forgeline_deploy.serving.lane import ReplicaLost
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Answers, Batch
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.steering import SteeringFactory
from forgeline_deploy.serving.traffic import Traffic

if TYPE_CHECKING:
    import uvicorn

LAME_DUCK_S = 0.5
"""A deployment that stops still takes requests for so long, and tells clients to use the connection no more."""

_LOOK_S = 1.0
_STARTS_WITHIN_S = 30.0
_LAST_WORD_S = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneOrder:
    """A version that is up.

    Attributes:
        version: of the model.
        application: the Serve application that has its replicas.
        bundle: its folder.
        digest: that the bundle must have.
    """

    version: str
    application: str
    bundle: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IngressOrder:
    """What an ingress is made of.

    Attributes:
        model: name that clients know the model by.
        config: of the deployment; its port is not 0.
        token_sha256: of the token that clients must show; None where they need none.
        lanes: versions to begin with.
        traffic: that is chosen by at the beginning.
        steering: makes who says otherwise later; with it, `lanes` may be empty.
        log: folder for its output; None leaves it where it is.
    """

    model: str
    config: ServeConfig
    token_sha256: bytes | None
    lanes: tuple[LaneOrder, ...]
    traffic: Traffic
    steering: SteeringFactory | None = None
    log: str | None = None


class Ingress:
    """The class of the actor. Its methods are called by whoever steers the deployment: see `Stack`."""

    def __init__(self, order: IngressOrder) -> None:
        if order.log is not None:
            from forgeline.launching.worker_output import redirect_to_next

            redirect_to_next(Path(order.log))
        self._order = order
        self._incarnation = uuid4().hex
        self._front = Front(order.model, order.config, order.traffic)
        self._loop = uvloop.new_event_loop()
        self._server: uvicorn.Server | None = None
        self._applications: dict[str, str] = {}
        self._failed: BaseException | None = None
        self._ended = asyncio.Event()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="http", daemon=True)
        self._thread.start()
        # Who is steered may have to wait for whoever steers; an error in here would end the actor for good.
        if order.steering is None:
            started.result(_STARTS_WITHIN_S)

    async def status(self) -> dict[str, Any]:
        """Which process it is, and what it does now."""
        front = self._front
        lanes = {
            version: {
                "waiting": door.lane.waiting, "in_flight": door.lane.in_flight, "replicas": door.lane.replicas,
            }
            for version, door in list(front.doors.items())
        }  # fmt: skip
        told = {"incarnation": self._incarnation, "ready": front.ready, "draining": front.draining, "lanes": lanes}
        return told | {"serves": self._thread.is_alive(), "failure": str(self._failed) if self._failed else None}

    async def drain(self, within_s: float) -> bool:
        """Take no further request, and return when all are answered; False where that took too long."""
        try:
            return bool(await self._there(self._drained(within_s)))
        except TimeoutError:
            return False

    async def _there(self, work: Any) -> Any:
        """Do something on the server's own event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _run(self, started: Future[None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(started))
        except BaseException as error:
            self._failed = error
            if self._order.steering is not None:
                traceback.print_exc()
                os._exit(1)  # Ray starts it again
            if not started.done():
                started.set_exception(error)
            raise

    async def _serve(self, started: Future[None]) -> None:
        from forgeline_deploy.serving.application import application
        from forgeline_deploy.serving.server import server_of

        for lane in self._order.lanes:
            await self._open(lane)
        tasks = [self._loop.create_task(self._look())]
        if self._order.steering is not None:
            self._front.steering = steering = self._order.steering(self._steered())
            await steering.first()
            tasks.append(self._loop.create_task(steering.run()))
        config = self._order.config
        listening = listen(config.host, config.port)
        app = application(self._front, token_sha256=self._order.token_sha256)
        self._server = server_of(app)
        self._loop.call_soon(started.set_result, None)
        try:
            await self._server.serve(sockets=[listening])
            self._ended.set()
            # Draining goes on after the last connection is closed.
            if not self._front.draining:
                raise ForgelineError("the HTTP server ended without being asked to")
            await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()

    def _steered(self) -> _Steered:
        return _Steered(self._incarnation, self._front, self._open, self._close)

    async def _open(self, order: LaneOrder) -> None:
        from ray import serve

        bundle = await asyncio.to_thread(_loaded, order)
        config = self._order.config
        intake = intake_of(bundle, most_samples=config.max_queue, most_pixels=config.max_pixels)
        handle = serve.get_deployment_handle("Model", order.application)
        stream = None
        if bundle.task == "language_modelling":
            streaming = handle.options(stream=True, method_name="generate")

            def stream(prompt: str, settings: Mapping[str, Any]) -> AsyncGenerator[str]:
                return _streamed(streaming.remote(prompt, settings))

        async def call(batch: Batch) -> Answers:
            return await _called(handle.infer.remote(batch))

        self._front.open(order.version, intake, call, stream)
        self._applications[order.version] = order.application

    async def _close(self, version: str) -> None:
        self._applications.pop(version, None)
        await self._front.close(version)

    async def _look(self) -> None:
        """How many replicas each version has, told by Serve; it decides how many batches are on their way."""
        while True:
            try:
                counts = await asyncio.to_thread(replica_counts)
                for version, application in list(self._applications.items()):
                    if (door := self._front.doors.get(version)) is not None:
                        door.lane.replicas = counts.get(application, 0)
            except Exception as error:
                # Serve's controller may be on its way back; replicas answer without it.
                print(f"Serve does not tell of replicas: {error}", flush=True)
            await asyncio.sleep(_LOOK_S)

    async def _drained(self, within_s: float) -> bool:
        assert self._server is not None
        self._front.draining = True
        await asyncio.sleep(LAME_DUCK_S)
        self._server.should_exit = True
        async with asyncio.timeout(within_s):
            # Requests that are on their way through the kernel are busy only when the server has read them.
            await self._ended.wait()
            await self._front.drain()
        # Every request is answered, whether or not the controller can be told of the last ones.
        if self._front.steering is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await self._front.steering.close()
        return True


class _Steered:
    """The ingress as who steers it has it."""

    def __init__(
        self,
        incarnation: str,
        front: Front,
        open: Callable[[LaneOrder], Awaitable[None]],
        close: Callable[[str], Awaitable[None]],
    ) -> None:
        self.incarnation = incarnation
        self._front, self._open, self._close = front, open, close

    @property
    def versions(self) -> Set[str]:
        return set(self._front.doors)

    async def open(self, order: LaneOrder) -> None:
        await self._open(order)

    async def close(self, version: str) -> None:
        await self._close(version)

    def route(self, traffic: Traffic) -> None:
        self._front.traffic = traffic


async def _called(response: Any) -> Answers:
    from ray import exceptions
    from ray.serve.exceptions import DeploymentUnavailableError

    try:
        answers: Answers = await response
        return answers
    except (exceptions.RayActorError, exceptions.ObjectLostError, DeploymentUnavailableError) as error:
        raise ReplicaLost(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


async def _streamed(pieces: Any) -> AsyncGenerator[str]:
    from ray import exceptions
    from ray.serve.exceptions import DeploymentUnavailableError

    try:
        async for piece in pieces:
            yield piece
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ForgelineError):
            raise Refused(422, getattr(cause, "message", None) or str(cause), field="prompt") from error
        raise Refused(500, "the model failed on this prompt") from error
    except (exceptions.RayError, DeploymentUnavailableError) as error:
        raise Refused(503, "the replica that wrote the text is gone; ask again", retry_after_s=1) from error
    finally:
        # Nobody takes more: without being told, the replica would write on to the end.
        pieces.cancel()


def _loaded(order: LaneOrder) -> Any:
    from forgeline.bundle import Bundle
    from forgeline.errors import BundleTampered

    bundle = Bundle.load(Path(order.bundle))
    if bundle.digest != order.digest:
        raise BundleTampered(f"the bundle {order.bundle} is not the one that is to be served")
    return bundle


def replica_counts() -> dict[str, int]:
    """Running replicas of the model, by Serve application."""
    from ray import serve
    from ray.serve._private.common import ReplicaState

    found = {}
    for name, application in serve.status().applications.items():
        model = application.deployments.get("Model")
        if model is not None:
            found[name] = model.replica_states.get(ReplicaState.RUNNING, 0)
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; a name takes the first address that it stands for.

    Raises:
        OSError: the port is taken, or the address is none of this host.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
