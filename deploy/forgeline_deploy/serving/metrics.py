"""What Prometheus is told. All of it is known in the ingress, where batches are made, so that one address has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forgeline_deploy.serving.samples import Answers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

LaneGauges = Mapping[str, tuple[int, int, int]]
"""Version -> samples that wait, batches that replicas have, replicas."""


class Metrics:
    """Counters of one ingress.

    Args:
        lanes: reads the state of the queues when somebody asks.
    """

    def __init__(self, lanes: Callable[[], LaneGauges]) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter(
            "forgeline_requests", "Requests, by status of HTTP.", ["endpoint", "status", "version"], **own
        )
        self._latency = Histogram(
            "forgeline_request_seconds", "From the arrival of a request to its answer.", ["endpoint", "version"],
            buckets=_SECONDS, **own,
        )  # fmt: skip
        self._samples = Counter("forgeline_samples", "Samples that were answered.", ["version"], **own)
        self._retries = Counter(
            "forgeline_batch_retries", "Batches sent again since their replica died.", ["version"], **own
        )
        self._batch = Histogram("forgeline_batch_samples", "Samples in a batch.", ["version"], buckets=_SAMPLES, **own)
        self._parts = {
            part: Histogram(f"forgeline_{part}_seconds", text, ["version"], buckets=_SECONDS, **own)
            for part, text in (
                ("queue_wait", "How long the first sample of a batch waited in the queue."),
                ("encode", "From raw data to the model's arrays, for a batch."),
                ("forward", "In the model, for a batch."),
            )
        }
        self._models = Gauge(
            "forgeline_model_info", "1 for each version that is up.", ["model", "version", "digest"], **own
        )
        self._registry.register(_Lanes(lanes))

    def answered(self, endpoint: str, status: int, version: str, seconds: float) -> None:
        """A request got its answer."""
        self._requests.labels(endpoint, str(status), version).inc()
        self._latency.labels(endpoint, version).observe(seconds)

    def batch(self, version: str, samples: int, waited_s: float, answers: Answers) -> None:
        """A batch got its answer."""
        self._batch.labels(version).observe(samples)
        self._samples.labels(version).inc(samples)
        for part, seconds in (
            ("queue_wait", waited_s), ("encode", answers.encode_s), ("forward", answers.forward_s),
        ):  # fmt: skip
            self._parts[part].labels(version).observe(seconds)

    def retried(self, version: str) -> None:
        """A batch is sent again."""
        self._retries.labels(version).inc()

    def model(self, name: str, version: str, digest: str, *, up: bool) -> None:
        """A version came, or went."""
        if up:
            self._models.labels(name, version, digest).set(1)
        else:
            self._models.remove(name, version, digest)

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)


class _Lanes(Collector):
    """Gauges that are read when somebody asks."""

    def __init__(self, lanes: Callable[[], LaneGauges]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterable[Metric]:
        found = self._lanes()
        for place, (name, text) in enumerate((
            ("forgeline_queue_samples", "Samples that wait for a replica."),
            ("forgeline_batches_in_flight", "Batches that replicas have."),
            ("forgeline_replicas", "Replicas that are up."),
        )):  # fmt: skip
            gauge = GaugeMetricFamily(name, text, labels=["version"])
            for version, values in found.items():
                gauge.add_metric([version], values[place])
            yield gauge
