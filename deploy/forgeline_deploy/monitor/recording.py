"""What a replica hands its answered batches to: counts them by the model's reference, and reports once a second.

Nothing here fails a request. While nobody takes the reports, counting goes on, and that is told once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import sample_count
from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import Observer
from forgeline.preprocessing.tabular import Gaps
from forgeline_deploy.monitor.batches import Batch, answers_of, drawn
from forgeline_deploy.monitor.gaps import gaps_of
from forgeline_deploy.monitor.pane import Delivery, Receipt, Stream
from forgeline_deploy.monitor.recorder import PaneRecorder
from forgeline_deploy.monitor.spec import MonitorConfig

if TYPE_CHECKING:
    from forgeline.bundle import Bundle

EVERY_S = 1.0
"""Seconds between two reports."""
_LONGEST_PAYLOAD = 16_384

log = logging.getLogger(__name__)


class Answered(Protocol):
    """A batch as a replica has it; all sequences have one entry a sample.

    Attributes:
        raw: samples as they came.
        encoded: the model's input arrays.
        outputs: of the model.
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
    observer = Observer.of(bundle)

    def count(batch: Batch) -> Observation:
        beside = batch.beside
        gaps = None
        if "missing_numbers" in beside:
            gaps = Gaps(numeric=beside["missing_numbers"], categorical=beside["missing_categories"])
        observer.count(batch.encoded, gaps=gaps, outputs=beside.get("outputs"))
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
        if preprocessing.kind == "table" and len(batch.raw) == sample_count(batch.encoded):
            beside["missing_numbers"], beside["missing_categories"] = gaps_of(preprocessing, batch.encoded, batch.raw)
        now = self._now()
        whole = Batch(
            stream=Stream("", self._version),
            arrived=batch.arrivals,
            # From the router's clock to this one's; where the two disagree, the time in the replica at least.
            took_s=[max(now - arrived, batch.seconds) for arrived in batch.arrivals],
            encoded=batch.encoded,
            beside=beside,
            answers=answers_of(preprocessing, batch.outputs, batch.request_ids) if self._config.labels else (),
            payloads=drawn(batch.request_ids, _contents(batch.raw)) if self._config.sample_payloads else (),
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


def _contents(raw: Sequence[Any]) -> list[str]:
    """Samples as text, as far as they are text: pixels and signals are not kept."""
    return [json.dumps(sample, default=lambda value: f"<{type(value).__name__}>")[:_LONGEST_PAYLOAD] for sample in raw]
