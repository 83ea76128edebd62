"""The queue before the replicas of one version: batches are made here, in the process that speaks HTTP.

Why here, and not in the replicas (as Serve's own `@serve.batch` does):
- A call to a replica has a price in both processes; here it is paid once per batch.
- The bound of the queue is exact, over all replicas, and a batch is filled from all that waits.
- A replica that dies takes no queue with it: its batch is sent to another one, since predictions can be repeated.
A replica gets its next batch while it still works on one, so that it never waits for the way there and back.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from forgeline.errors import ForgelineError
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Answers, Batch, Samples, Ticket
from forgeline_deploy.serving.traffic import Columns

AHEAD = 2
"""Batches that a replica has: one that it works on, and the next one."""

_TRIES = 4
_PAUSE_S = 0.25
_OLD = 0.9
"""Weight of what was measured before, in the mean pace of answers."""


class ReplicaLost(ForgelineError):
    """The replica that had a batch is gone, or none is there."""


Call = Callable[[Batch], Awaitable[Answers]]


class LaneWatch(Protocol):
    """Told what a lane does, for the metrics."""

    def batch(self, version: str, samples: int, waited_s: float, answers: Answers) -> None: ...
    def retried(self, version: str) -> None: ...


@dataclass(slots=True)
class _Waiting:
    """A piece in the queue."""

    samples: Samples
    ticket: Ticket
    since: float
    answer: asyncio.Future[dict[str, Any]] = field(repr=False)


class Lane:
    """One version's queue. Everything but `replicas` belongs to the event loop that it is used on.

    Args:
        version: of the model.
        call: sends a batch to any replica; raises ReplicaLost when that one dies.
        max_batch: samples of a batch at most.
        batch_wait_s: how long the first sample of a batch waits for others, where others came lately.
        max_queue: samples that may wait.
        patience_s: how long a batch is tried again while no replica is there.
        watch: told of batches.
    """

    def __init__(
        self,
        version: str,
        call: Call,
        *,
        max_batch: int,
        batch_wait_s: float,
        max_queue: int,
        patience_s: float,
        watch: LaneWatch,
    ) -> None:
        self.version = version
        self.replicas = 1
        self._call = call
        self._max_batch = max_batch
        self._wait_s = batch_wait_s
        self._max_queue = max_queue
        self._patience_s = patience_s
        self._watch = watch
        self._queue: deque[_Waiting] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._seconds_per_sample = 0.0
        self._closed = False
        # Whether others came lately while one was there: without them a batch of one is not held for company.
        self._company = True

    @property
    def waiting(self) -> int:
        """Samples in the queue."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Batches that replicas have."""
        return len(self._in_flight)

    async def ask(self, samples: Samples, ticket: Ticket) -> Columns:
        """Predictions for samples, one value of each column per sample.

        Raises:
            Refused: 422, the samples are not what the model takes; 429, the queue is full; 503, no replica answers, or
                the lane is closed; 500, the model failed.
        """
        self.check_room(len(samples))
        loop, now = asyncio.get_running_loop(), time.monotonic()
        self._company = self._company or bool(self._queue or self._in_flight)
        own = [_Waiting(piece, ticket, now, loop.create_future()) for piece in samples.pieces(self._max_batch)]
        self._queue.extend(own)
        self._waiting += len(samples)
        self._pump()
        try:
            parts = [await piece.answer for piece in own]
        except BaseException:
            # Whoever asked is gone, or got its refusal: what still waits is not sent.
            for piece in own:
                piece.answer.cancel()
            raise
        return parts[0] if len(parts) == 1 else {name: sum((part[name] for part in parts), []) for name in parts[0]}

    def check_room(self, count: int) -> None:
        """See that so many samples can be taken now.

        Raises:
            Refused: 422, they never fit; 429, the queue is full; 503, the lane is closed.
        """
        if self._closed:
            raise Refused(503, f"version {self.version} is not served any more", retry_after_s=1)
        if count > self._max_queue:
            raise Refused(
                422,
                f"got {count} samples; allowed: 1 to {self._max_queue} in one request (serve.max_queue)",
                field="instances",
            )
        if self._waiting + count > self._max_queue:
            raise Refused(
                429,
                f"{self._waiting} samples wait already; allowed: {self._max_queue} (serve.max_queue): ask again later",
                retry_after_s=self._retry_after_s(),
            )

    async def close(self) -> None:
        """Take nothing more, and return when all that waits is answered."""
        self._closed = True
        self._pump()
        while self._queue or self._in_flight:
            await asyncio.wait([*self._in_flight], timeout=0.05) if self._in_flight else await asyncio.sleep(0.01)

    def _retry_after_s(self) -> float:
        """Time in which half of the queue is answered, at the pace of late."""
        return max(1.0, self._seconds_per_sample * self._waiting / 2)

    def _pump(self) -> None:
        """Send batches for as long as a replica is free and a batch is due."""
        while self._queue and len(self._in_flight) < AHEAD * max(self.replicas, 1):
            due_in = self._queue[0].since + self._wait_s - time.monotonic()
            if self._waiting < self._max_batch and due_in > 0 and self._company and not self._closed:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(due_in, self._timed)
                return
            batch = self._next()
            if batch:
                self._company = len(batch) > 1 or bool(self._in_flight)
                task = asyncio.get_running_loop().create_task(self._send(batch))
                self._in_flight.add(task)
                task.add_done_callback(self._sent)

    def _timed(self) -> None:
        self._timer = None
        self._pump()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._pump()

    def _next(self) -> list[_Waiting]:
        """Pieces for one batch, first come first; those that nobody waits for any more are dropped."""
        chosen: list[_Waiting] = []
        room = self._max_batch
        while self._queue:
            size = len(self._queue[0].samples)
            gone = self._queue[0].answer.done()
            if size > room and not gone:
                break
            piece = self._queue.popleft()
            self._waiting -= size
            if not gone:
                chosen.append(piece)
                room -= size
        return chosen

    async def _send(self, batch: list[_Waiting]) -> None:
        began = time.monotonic()
        sent = Batch([piece.samples for piece in batch], [piece.ticket for piece in batch])
        try:
            answers = await self._answered(sent)
        except Refused as error:
            for piece in batch:
                _fail(piece, error)
            return
        except BaseException:
            for piece in batch:
                _fail(piece, Refused(500, "the model failed"))
            raise
        pace = (time.monotonic() - began) / max(len(sent), 1) / max(self.replicas * AHEAD, 1)
        self._seconds_per_sample = _OLD * self._seconds_per_sample + (1 - _OLD) * pace
        self._watch.batch(self.version, len(sent), began - batch[0].since, answers)
        _deal(batch, answers)

    async def _answered(self, batch: Batch) -> Answers:
        """The answer of whichever replica lives long enough to give it."""
        until, died = time.monotonic() + self._patience_s, 0
        while True:
            try:
                return await self._call(batch)
            except ReplicaLost as error:
                died += 1
                # What kills one replica after the other may be these samples: others must not go on dying of them.
                if died >= _TRIES or time.monotonic() >= until:
                    raise Refused(503, "no replica of the model answers; ask again later", retry_after_s=5) from error
                self._watch.retried(self.version)
                await asyncio.sleep(_PAUSE_S * (died - 1))


def _deal(batch: list[_Waiting], answers: Answers) -> None:
    """Give each piece its own part of the answer."""
    start = 0
    for number, piece in enumerate(batch):
        if number in answers.refused:
            _fail(piece, Refused(422, answers.refused[number], field="instances"))
        elif number in answers.failed:
            _fail(piece, Refused(500, "the model failed on these samples"))
        else:
            end = start + len(piece.samples)
            if not piece.answer.done():
                piece.answer.set_result({name: column[start:end] for name, column in answers.columns.items()})
            start = end


def _fail(piece: _Waiting, error: Refused) -> None:
    if not piece.answer.done():
        piece.answer.set_exception(error)
        # Nobody may be there to hear it.
        piece.answer.exception()
