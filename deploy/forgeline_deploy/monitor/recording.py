"""What a replica hands its answered batches to: counts them by the model's reference, and reports once a second.

Nothing here fails a request. While nobody takes the reports, counting goes on, and that is told once.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.embedding import PROJECTIONS
from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import Observer
from forgeline.preprocessing.tabular import Gaps
from forgeline_deploy.monitor.batches import Batch, answers_of, drawn
from forgeline_deploy.monitor.pane import Delivery, Receipt, Stream
from forgeline_deploy.monitor.recorder import PaneRecorder
from forgeline_deploy.monitor.spec import MonitorConfig

if TYPE_CHECKING:
    from forgeline.bundle import Bundle

EVERY_S = 1.0
"""Seconds between two reports."""
_LONGEST_PAYLOAD = 1_000_000
"""Characters of a sample; larger ones are not kept."""

log = logging.getLogger(__name__)


class Answered(Protocol):
    """A batch as a replica has it; all sequences have one entry a sample.

    Attributes:
        raw: as they came, in parts that follow each other.
        encoded: the model's input arrays.
        outputs: of the model.
        embedding: projections of its embedding; None where it has none.
        gaps: where rows of a table have no value; None of other data.
        arrivals: unix seconds at which each request reached the router.
        roles: for which each was asked, such as `champion`.
        seconds: that the batch took in the replica.
    """

    @property
    def raw(self) -> Sequence[Any]: ...
    @property
    def encoded(self) -> Mapping[str, NDArray[Any]]: ...
    @property
    def outputs(self) -> NDArray[Any]: ...
    @property
    def embedding(self) -> NDArray[Any] | None: ...
    @property
    def gaps(self) -> Gaps | None: ...
    @property
    def request_ids(self) -> Sequence[str]: ...
    @property
    def arrivals(self) -> Sequence[float]: ...
    @property
    def roles(self) -> Sequence[str]: ...
    @property
    def seconds(self) -> float: ...


def counter_of(bundle: Bundle) -> Callable[[Batch], Observation]:
    """Counts batches by a bundle's reference; of a bundle without one it counts rows alone.

    Raises:
        BundleError: the reference cannot be read, or is not of this model.
    """
    if bundle.reference is None:
        return lambda batch: Observation(rows=batch.rows, inputs={}, outputs={})
    observer = Observer.of(bundle, embedding=True)

    def count(batch: Batch) -> Observation:
        beside = batch.beside
        gaps = None
        if "missing_numbers" in beside:
            gaps = Gaps(numeric=beside["missing_numbers"], categorical=beside["missing_categories"])
        embedding = beside.get("embedding")
        if embedding is None and observer.wants_embedding:
            embedding = np.full((batch.rows, PROJECTIONS), np.nan)  # which are counted as missing
        observer.count(batch.encoded, gaps=gaps, outputs=beside.get("outputs"), embedding=embedding)
        return observer.take()

    return count


class ReplicaRecording:
    """Records for one replica, with a thread of its own that reports.

    Args:
        bundle: of the version that is served.
        replica: an id that no other process has or had.
        version: of the model.
        config: the policy.
        send: brings a delivery to the monitor and returns its receipt; what it raises is taken for its absence.
        now: the clock, unix seconds.
        every_s: seconds between two reports.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        replica: str,
        version: str,
        config: MonitorConfig,
        send: Callable[[Delivery], Receipt],
        now: Callable[[], float] = time.time,
        every_s: float = EVERY_S,
    ) -> None:
        self._bundle, self._version, self._now, self._send = bundle, version, now, send
        self._config = config
        self.panes = PaneRecorder(
            replica=replica,
            count=counter_of(bundle),
            window_s=config.window_s,
            now=now,
            keep_answers=config.labels is not None,
            sample_payloads=config.sample_payloads,
        )
        self._away = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, args=(every_s,), name="monitor", daemon=True)
        self._thread.start()

    def record(self, batch: Answered) -> None:
        """Put an answered batch aside, to be counted within a second."""
        beside: dict[str, NDArray[Any]] = {"outputs": np.asarray(batch.outputs)}
        preprocessing = self._bundle.preprocessing
        if batch.embedding is not None:
            beside["embedding"] = batch.embedding
        if batch.gaps is not None:
            beside |= {"missing_numbers": batch.gaps.numeric, "missing_categories": batch.gaps.categorical}
        requests = _named(batch.request_ids)
        now = self._now()
        whole = Batch(
            stream=Stream("", self._version),
            arrived=batch.arrivals,
            # From the router's clock to this one's; where the two disagree, the time in the replica at least.
            took_s=[max(now - arrived, batch.seconds) for arrived in batch.arrivals],
            encoded=batch.encoded,
            beside=beside,
            answers=answers_of(preprocessing, batch.outputs, requests) if self._config.labels else (),
            payloads=drawn(requests, _contents(batch.raw)) if self._config.sample_payloads else (),
        )
        for part in whole.by_role(batch.roles):
            self.panes.record(part)

    def close(self) -> None:
        """Report what is left, and end."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _report(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            self._exchange()
        self._exchange()

    def _exchange(self) -> None:
        try:
            self.panes.exchange(self._send)
        except Exception as error:
            # Whatever it is that keeps the monitor away, an actor that was killed or a network, the replica goes on.
            if not self._away:
                log.warning("the monitor does not take reports, counting goes on: %s: %s", type(error).__name__, error)
            self._away = True
            return
        if self._away:
            log.warning("the monitor takes reports again")
        self._away = False


def _named(request_ids: Sequence[str]) -> list[str]:
    """Ids of samples: that of the request, and behind `/` the number of the sample in it from the second on."""
    seen: dict[str, int] = {}
    named = []
    for request in request_ids:
        number = seen.get(request, 0)
        seen[request] = number + 1
        named.append(f"{request}/{number}" if number else request)
    return named


def _contents(raw: Sequence[Any]) -> list[str]:
    """Samples as text: what is no JSON, such as pixels, as a `.npy` file in base64."""
    return [_content(sample) for part in raw for sample in part]


def _content(sample: Any) -> str:
    if hasattr(sample, "convert"):  # a picture that was opened from a file
        sample = np.asarray(sample)
    if isinstance(sample, np.ndarray):
        stream = io.BytesIO()
        np.save(stream, sample, allow_pickle=False)
        sample = {"npy": base64.b64encode(stream.getvalue()).decode()}
    text = json.dumps(sample, default=str)
    return text if len(text) <= _LONGEST_PAYLOAD else ""
