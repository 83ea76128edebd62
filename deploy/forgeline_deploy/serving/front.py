"""What the ingress does with a request once it is read: a version is chosen, its lane asked, shadows told.

It knows nothing of HTTP and nothing of Ray: lanes are opened with whatever sends a batch to a replica.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from forgeline_deploy.serving.intake import Intake
from forgeline_deploy.serving.lane import Call, Lane
from forgeline_deploy.serving.metrics import Metrics
from forgeline_deploy.serving.places import place_of
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Samples, Ticket
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.steering import Steering
from forgeline_deploy.serving.text_lane import Stream, TextLane
from forgeline_deploy.serving.traffic import Answered, Choice, Columns, Traffic

SHADOW = "shadow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """One version of the model that is up."""

    version: str
    lane: Lane
    intake: Intake
    text: TextLane | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Who answers one request, and who chose: what becomes of it is told to the same, whoever chooses by then."""

    choice: Choice
    door: Door
    traffic: Traffic


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request.

    Attributes:
        request_id: taken from the request or made.
        key: that the version is chosen by.
        arrival: Unix seconds.
    """

    request_id: str
    key: str
    arrival: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """An answer, and who gave it."""

    columns: Columns
    version: str
    role: str
    samples: int


class Front:
    """The versions that are up and the traffic between them.

    Args:
        model: name that clients know the model by.
        config: of the deployment.
        traffic: chooses the version for each request.
    """

    def __init__(self, model: str, config: ServeConfig, traffic: Traffic) -> None:
        self.model = model
        self.config = config
        self.traffic = traffic
        self.steering: Steering | None = None
        self.draining = False
        self.busy = 0
        self.doors: dict[str, Door] = {}
        self.metrics = Metrics(self._gauges)
        self._background: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        return not self.draining and bool(self.doors) and all(door.lane.replicas > 0 for door in self.doors.values())

    def open(self, version: str, intake: Intake, call: Call, stream: Stream | None = None) -> Door:
        """Let requests go to a version; one that is open already gets the new way to its replicas."""
        config = self.config
        lane = Lane(
            version,
            call,
            max_batch=config.max_batch,
            batch_wait_s=config.batch_wait.total_seconds(),
            max_queue=config.max_queue,
            patience_s=config.request_timeout.total_seconds(),
            watch=self.metrics,
        )
        text = None
        if stream is not None:
            text = TextLane(stream, most=config.max_queue, patience_s=config.request_timeout.total_seconds())
        self.doors[version] = door = Door(version=version, lane=lane, intake=intake, text=text)
        self.metrics.model(self.model, version, intake.bundle.digest, up=True)
        return door

    async def close(self, version: str) -> None:
        """Let no further request go to a version, and return when those that it has are answered."""
        door = self.doors.pop(version, None)
        if door is not None:
            await door.lane.close()
            self.metrics.model(self.model, version, door.intake.bundle.digest, up=False)

    async def drain(self) -> None:
        """Return when nothing waits any more; new requests are still answered until then."""
        self.draining = True
        while self.busy or self._background or any(d.lane.waiting or d.lane.in_flight for d in self.doors.values()):
            await asyncio.sleep(0.02)

    def place_of(self, version: str, field: str | None) -> str | None:
        """What a refusal by a version is counted by; None where no field was wrong, or the version is up no more."""
        door = self.doors.get(version)
        return None if door is None or field is None else place_of(field, {one.name for one in door.intake.tensors()})

    def choose(self, asked: Asked, version: str | None = None) -> Chosen:
        """Who answers.

        Args:
            asked: the request.
            version: that it names itself.

        Raises:
            Refused: 404, the named version is not up; 503, the chosen one is not.
        """
        if version is not None:
            door = self.doors.get(version)
            if door is None:
                raise Refused(404, f"no version {version[:80]!r}; served: {', '.join(sorted(self.doors))}")
            return Chosen(choice=Choice(version=version, role="named"), door=door, traffic=self.traffic)
        choice = self.traffic.choose(asked.key, asked.arrival)
        door = self.doors.get(choice.version)
        if door is None:
            raise Refused(503, f"version {choice.version} is not up; ask again later", retry_after_s=1)
        return Chosen(choice=choice, door=door, traffic=self.traffic)

    async def predict(self, asked: Asked, chosen: Chosen, samples: Samples) -> Prediction:
        """The chosen version's predictions; its shadows are asked as well, and nobody waits for them.

        Raises:
            Refused: as `Lane.ask`; 504, it took too long.
        """
        choice, door = chosen.choice, chosen.door
        columns: Columns = {}
        status = 500
        try:
            # More than the one that answers can take says nothing about those that only see it.
            door.lane.check_room(len(samples))
            for version in choice.shadows:
                if (shadow := self.doors.get(version)) is not None:
                    self._ask_shadow(asked, chosen.traffic, shadow, samples)
            columns = await self._ask(door, samples, asked, choice.role)
            status = 200
        except Refused as error:
            status = error.status
            raise
        finally:
            answer = _answered(asked, choice.version, choice.role, status, len(samples), columns)
            self._tell(chosen.traffic, answer)
        return Prediction(columns=columns, version=door.version, role=choice.role, samples=len(samples))

    async def _ask(self, door: Door, samples: Samples, asked: Asked, role: str) -> Columns:
        ticket = Ticket(request_id=asked.request_id, arrival=asked.arrival, role=role)
        limit = self.config.request_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                return await door.lane.ask(samples, ticket)
        except TimeoutError as error:
            message = f"no answer within {self.config.request_timeout} (serve.request_timeout)"
            raise Refused(504, message, retry_after_s=1) from error

    def _ask_shadow(self, asked: Asked, traffic: Traffic, door: Door, samples: Samples) -> None:
        task = asyncio.get_running_loop().create_task(self._shadowed(asked, traffic, door, samples))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _shadowed(self, asked: Asked, traffic: Traffic, door: Door, samples: Samples) -> None:
        columns: Columns = {}
        status = 500
        try:
            columns = await self._ask(door, samples, asked, SHADOW)
            status = 200
        except Refused as error:
            status = error.status
        finally:
            self._tell(traffic, _answered(asked, door.version, SHADOW, status, len(samples), columns))

    def _tell(self, traffic: Traffic, answer: Answered) -> None:
        traffic.answered(answer)
        if self.steering is not None:
            self.steering.answered(answer)

    def _gauges(self) -> dict[str, tuple[int, int, int]]:
        return {
            version: (door.lane.waiting, door.lane.in_flight, door.lane.replicas)
            for version, door in self.doors.items()
        }


def _answered(asked: Asked, version: str, role: str, status: int, samples: int, columns: Columns) -> Answered:
    return Answered(
        request_id=asked.request_id,
        key=asked.key,
        version=version,
        role=role,
        arrival=asked.arrival,
        seconds=time.time() - asked.arrival,
        status=status,
        samples=samples,
        columns=columns,
    )
