"""The hook of a replica: what went through the model, told once per batch, behind the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.bundle import Bundle
    from forgeline.preprocessing.tabular import Gaps


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaIdentity:
    """Which replica it is.

    Attributes:
        deployment: id of the run.
        version: of the model.
        replica: unlike that of any other replica, also of one that takes this one's place.
    """

    deployment: str
    version: str
    replica: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedBatch:
    """Samples that were answered together. All sequences have one entry per sample, in the same order.

    Attributes:
        raw: as `Bundle.predict` takes them, in parts that follow each other: rows as mappings, texts, pixels, series.
        encoded: the model's input arrays.
        outputs: of the model: probabilities or standardised numbers.
        embedding: projections [n, 4] of what the last layer read; None of models without one.
        gaps: where rows of a table have no value; None of other data.
        request_ids: of the request that a sample came with.
        arrivals: Unix seconds at which that request reached the ingress.
        roles: for which each was asked, such as `champion` or `shadow`.
        seconds: that the batch took in this replica.
    """

    raw: Sequence[Any]
    encoded: Mapping[str, NDArray[Any]]
    outputs: NDArray[Any]
    embedding: NDArray[Any] | None
    gaps: Gaps | None
    request_ids: Sequence[str]
    arrivals: Sequence[float]
    roles: Sequence[str]
    seconds: float


class Recorder(Protocol):
    """Takes what went through one replica; called by one thread at a time, and not by the one that runs the model."""

    def record(self, batch: RecordedBatch) -> None:
        """Count a batch; what it raises is logged, and fails no request."""

    def close(self) -> None:
        """The replica is about to stop in good order: give away what is held."""


RecorderFactory = Callable[["Bundle", ReplicaIdentity], Recorder]
"""Makes the recorder of a replica; is sent to it, so that it must be a function or class that can be imported."""
