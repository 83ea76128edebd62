"""A replica: one process with the model, which answers batches. Run by Ray Serve.

The model runs in a thread of its own, one batch after the other, while the next one is received; what is recorded is
recorded in another thread, after the answer has left.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from forgeline.errors import DataError
from forgeline.preprocessing.tabular import Gaps
from forgeline_deploy.serving.pictures import opened
from forgeline_deploy.serving.recorder import RecordedBatch, Recorder, RecorderFactory, ReplicaIdentity
from forgeline_deploy.serving.samples import Answers, Batch, Samples, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.bundle import Bundle

_UNRECORDED = 64
"""Batches that may wait to be recorded; with more, answers wait for the recorder: nothing is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaOrder:
    """What a replica is made of.

    Attributes:
        deployment: id of the run.
        version: of the model.
        bundle: its folder.
        digest: that the bundle must have.
        max_batch: samples in a batch at most.
        max_pixels: of a picture.
        device: `cuda` or `cpu`.
        log: folder for the replica's output; None leaves it where it is.
        recorder: makes what records; None records nothing.
    """

    deployment: str
    version: str
    bundle: str
    digest: str
    max_batch: int
    max_pixels: int
    device: str
    log: str | None = None
    recorder: RecorderFactory | None = None


class Replica:
    """The class that Serve deploys, once for each version."""

    def __init__(self, order: ReplicaOrder) -> None:
        if order.log is not None:
            from forgeline.launching.worker_output import redirect_to_next

            redirect_to_next(Path(order.log))
        close_to_the_network()
        self._engine = Engine(order)
        self._engine.warm_up()
        self._model_thread = ThreadPoolExecutor(1, "model")
        self._recording = Recording(order, self._engine.bundle) if order.recorder is not None else None

    async def infer(self, batch: Batch) -> Answers:
        """Predictions for a batch."""
        if self._recording is not None:
            await self._recording.room()
        loop = asyncio.get_running_loop()
        answers, recorded = await loop.run_in_executor(self._model_thread, self._engine.answer, batch)
        if self._recording is not None and recorded is not None:
            self._recording.take(recorded)
        return answers

    async def generate(self, prompt: str, settings: Mapping[str, Any]) -> AsyncIterator[str]:
        """The pieces of a text's continuation, as they are made."""
        loop = asyncio.get_running_loop()
        pieces = self._engine.texts(prompt, settings)
        while True:
            piece = await loop.run_in_executor(self._model_thread, next, pieces, None)
            if piece is None:
                return
            yield piece

    def __del__(self) -> None:
        # Serve calls it when it stops a replica in good order.
        if (recording := getattr(self, "_recording", None)) is not None:
            recording.close()


def close_to_the_network() -> None:
    """On a Ray that only this host reaches, keep Serve's replica from listening on all addresses.

    It opens a port for calls that do not go through Ray, which nothing here makes, after the replica was constructed;
    the address cannot be set.
    """
    import ray
    from ray.serve._private import replica as module

    replica: Any = module
    if ray.util.get_node_ip_address() != "127.0.0.1":
        return
    add_port = replica.add_port_to_grpc_server

    def add_local_port(server: Any, address: str) -> Any:
        return add_port(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = add_local_port


class Engine:
    """The model of a replica without what surrounds it.

    Raises:
        BundleTampered: the bundle is not the one that was pinned.
    """

    def __init__(self, order: ReplicaOrder) -> None:
        from forgeline.bundle import Bundle
        from forgeline.bundle.embedding import in_one_pass
        from forgeline.errors import BundleTampered

        self._order = order
        self.bundle = Bundle.load(Path(order.bundle))
        if self.bundle.digest != order.digest:
            raise BundleTampered(
                f"the bundle {order.bundle} is not the one that is to be served: sha256 {self.bundle.digest[:12]}…, "
                f"wanted {order.digest[:12]}…"
            )
        bundle = self.bundle
        self._projects = order.recorder is not None and in_one_pass(bundle.task, bundle.preprocessing.kind)

    def warm_up(self) -> None:
        """Load what the first request would wait for."""
        from forgeline.bundle.inference import pick_device

        self.bundle.model.to(pick_device(self._order.device))

    def answer(self, batch: Batch) -> tuple[Answers, RecordedBatch | None]:
        """Predictions for a batch, and what there is to record of it."""
        began = time.perf_counter()
        encoded = self._encoded(batch.pieces)
        encoded_at = time.perf_counter()
        if not encoded.good:
            return Answers(columns={}, refused=encoded.refused, failed=encoded.failed), None
        try:
            outputs, embedding = self._outputs(encoded.arrays)
        except Exception:
            if len(encoded.good) == 1:
                traceback.print_exc()
                failed = encoded.failed | set(encoded.good)
                return Answers(columns={}, refused=encoded.refused, failed=failed), None
            return self._one_by_one(batch)
        done_at = time.perf_counter()
        table = self.bundle.preprocessing.decode(outputs)
        answers = Answers(
            columns={str(name): _plain(table[name].to_numpy()) for name in table.columns},
            refused=encoded.refused,
            failed=encoded.failed,
            encode_s=encoded_at - began,
            forward_s=done_at - encoded_at,
        )
        return answers, self._recorded(batch, encoded, outputs, embedding, done_at - began)

    def texts(self, prompt: str, settings: Mapping[str, Any]) -> Any:
        """A text's continuation in pieces."""
        return self.bundle.stream(prompt, device=self._order.device, **settings)

    def _outputs(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Of the model, and what the same pass had for an embedding where that is recorded."""
        from forgeline.bundle.embedding import Projections

        with Projections(self.bundle.model) if self._projects else nullcontext() as seen:
            outputs = self.bundle.outputs(arrays, batch_size=self._order.max_batch, device=self._order.device)
        return outputs, None if seen is None else seen.values

    def _one_by_one(self, batch: Batch) -> tuple[Answers, None]:
        """The model failed on a batch: one request's samples must not take the answers of others with them."""
        columns: dict[str, list[Any]] = {}
        refused, failed = {}, set()
        for number, (piece, ticket) in enumerate(zip(batch.pieces, batch.tickets, strict=True)):
            alone, _ = self.answer(Batch([piece], [ticket]))
            if alone.refused:
                refused[number] = alone.refused[0]
            if alone.failed:
                failed.add(number)
            for name, values in alone.columns.items():
                columns.setdefault(name, []).extend(values)
        return Answers(columns=columns, refused=refused, failed=frozenset(failed)), None

    def _encoded(self, pieces: Sequence[Samples]) -> Encoded:
        """Arrays of all pieces that the model can take; what it cannot is found by taking them one by one."""
        if all(piece.goes_with(pieces[0]) for piece in pieces):
            together = self._tried(joined(pieces))
            if isinstance(together, Encoded):
                together.good = list(range(len(pieces)))
                return together
        refused: dict[int, str] = {}
        failed: set[int] = set()
        good: dict[int, Encoded] = {}
        for number, piece in enumerate(pieces):
            found = self._tried(piece)
            if isinstance(found, Encoded):
                good[number] = found
            elif isinstance(found, DataError):
                refused[number] = found.message
            else:
                traceback.print_exception(found)
                failed.add(number)
        return Encoded(
            arrays=_stacked([one.arrays for one in good.values()]),
            raw=[raw for one in good.values() for raw in one.raw],
            gaps=[gaps for one in good.values() for gaps in one.gaps],
            good=list(good),
            refused=refused,
            failed=frozenset(failed),
        )

    def _tried(self, samples: Samples) -> Encoded | Exception:
        try:
            values = samples.values
            if samples.form == "files":
                values = [opened(file, most_pixels=self._order.max_pixels) for file in values]
            if self.bundle.preprocessing.kind == "table":
                arrays, gaps = self.bundle.preprocessing.encode_with_gaps(values)
                return Encoded(arrays=arrays, raw=[values], gaps=[gaps])
            return Encoded(arrays=self.bundle.preprocessing.encode(values), raw=[values])
        except Exception as error:
            return error

    def _recorded(
        self,
        batch: Batch,
        encoded: Encoded,
        outputs: NDArray[Any],
        embedding: NDArray[Any] | None,
        seconds: float,
    ) -> RecordedBatch | None:
        if self._order.recorder is None:
            return None
        owners = [batch.tickets[number] for number in encoded.good for _ in range(len(batch.pieces[number]))]
        return RecordedBatch(
            raw=encoded.raw,
            encoded=encoded.arrays,
            outputs=outputs,
            embedding=embedding,
            gaps=Gaps.joined(encoded.gaps) if encoded.gaps else None,
            request_ids=[ticket.request_id for ticket in owners],
            arrivals=[ticket.arrival for ticket in owners],
            roles=[ticket.role for ticket in owners],
            seconds=seconds,
        )


class Recording:
    """The thread that tells the recorder."""

    def __init__(self, order: ReplicaOrder, bundle: Bundle) -> None:
        assert order.recorder is not None
        identity = ReplicaIdentity(deployment=order.deployment, version=order.version, replica=uuid4().hex)
        self._recorder: Recorder = order.recorder(bundle, identity)
        self._thread = ThreadPoolExecutor(1, "recording")
        self._last: list[Future[None]] = []

    async def room(self) -> None:
        """Return when another batch may wait to be recorded."""
        self._last = [one for one in self._last if not one.done()]
        while len(self._last) >= _UNRECORDED:
            await asyncio.sleep(0.001)
            self._last = [one for one in self._last if not one.done()]

    def take(self, batch: RecordedBatch) -> None:
        self._last.append(self._thread.submit(self._record, batch))

    def close(self) -> None:
        """Record what waits, and close the recorder."""
        self._thread.shutdown(wait=True)
        try:
            self._recorder.close()
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()

    def _record(self, batch: RecordedBatch) -> None:
        try:
            self._recorder.record(batch)
        except Exception:
            traceback.print_exc()


@dataclass(slots=True)
class Encoded:
    """The model's input arrays of several pieces.

    Attributes:
        arrays: of all that is good.
        raw: what they were made from.
        gaps: of rows of a table, where they have no value.
        good: numbers of the pieces that are in them.
        refused: number of a piece -> what is wrong with it.
        failed: numbers of pieces that could not be encoded for a reason of ours.
    """

    arrays: Mapping[str, NDArray[Any]]
    raw: list[Any]
    gaps: Sequence[Gaps] = ()
    good: Sequence[int] = (0,)
    refused: dict[int, str] = field(default_factory=dict)
    failed: frozenset[int] = frozenset()


def _stacked(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays of several pieces, one after the other; texts are filled up to the longest with token 0."""
    if not parts:
        return {}
    stacked = {}
    for name in parts[0]:
        arrays = [part[name] for part in parts]
        longest = max((array.shape[1] for array in arrays if array.ndim == 2), default=0)
        if arrays[0].ndim == 2:
            arrays = [np.pad(array, ((0, 0), (0, longest - array.shape[1]))) for array in arrays]
        stacked[name] = np.concatenate(arrays)
    return stacked


def _plain(values: NDArray[Any]) -> list[Any]:
    """A column as JSON has it: what is no number is null."""
    listed: list[Any] = values.tolist()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [value if np.isfinite(value) else None for value in listed]
    return listed
