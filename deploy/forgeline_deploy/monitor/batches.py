"""Answered batches on their way to being counted: split where a pane ends, joined where that makes counting cheaper."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline_deploy.monitor.pane import Answer, Payload, Stream, pane_start

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Requests that were answered together.

    Attributes:
        arrived: when each reached the router, unix seconds.
        took_s: from then to its answer, in seconds.
        encoded: as the model takes it; arrays [n, …] of one sample a request, or anything else that is counted whole.
        beside: what else is counted of the same samples: `outputs` [n, …], and `embedding`, `missing_numbers`,
            `missing_categories` where there are any.
        answers: for labels, in the same order; may be empty.
        payloads: candidates for the draw; may be empty.
    """

    stream: Stream
    arrived: Sequence[float]
    took_s: Sequence[float]
    encoded: Arrays
    beside: Arrays = field(default_factory=dict)
    answers: Sequence[Answer] = ()
    payloads: tuple[Payload, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.arrived)

    @property
    def is_by_row(self) -> bool:
        """Whether its arrays have one entry a request; those of graphs have one a node or edge."""
        arrays = [*self.encoded.values(), *self.beside.values()]
        # By chance there may be as many nodes as requests.
        return "edges" not in self.encoded and all(len(array) == self.rows for array in arrays)

    def by_role(self, roles: Sequence[str]) -> Iterator[Batch]:
        """The parts of a batch that were asked for in one role each; what is counted whole is of the first role."""
        given = np.asarray(roles)
        for role in sorted(set(roles)) if self.is_by_row else [roles[0]]:
            stream = Stream(role, self.stream.version)
            chosen = np.flatnonzero(given == role).tolist()
            whole = not self.is_by_row or len(chosen) == self.rows
            yield replace(self, stream=stream) if whole else replace(self.rows_at(chosen), stream=stream)

    def rows_at(self, chosen: Sequence[int]) -> Batch:
        """Some of its rows, by their places."""
        return replace(
            self,
            arrived=[self.arrived[i] for i in chosen],
            took_s=[self.took_s[i] for i in chosen],
            encoded={name: array[chosen] for name, array in self.encoded.items()},
            beside={name: array[chosen] for name, array in self.beside.items()},
            answers=[self.answers[i] for i in chosen] if self.answers else (),
            payloads=tuple(self.payloads[i] for i in chosen) if self.payloads else (),
        )


def answers_of(preprocessing: Preprocessing, outputs: NDArray[Any], requests: Sequence[str]) -> list[Answer]:
    """What a model's outputs [n, …] answered to these requests [n]; empty of a model that neither tells classes nor
    predicts one number, since no label could be held against it."""
    outputs = np.asarray(outputs)
    classes = preprocessing.classes
    if classes is not None and outputs.ndim == 2:
        chosen, confidence = outputs.argmax(axis=1), outputs.max(axis=1)
        told = zip(requests, chosen.tolist(), confidence.tolist(), strict=True)
        return [Answer(request, classes[number], float(share)) for request, number, share in told]
    if classes is None and preprocessing.target is not None and outputs.ndim == 2 and outputs.shape[1] == 1:
        values = preprocessing.unscale(outputs).reshape(-1)
        return [Answer(request, repr(float(value))) for request, value in zip(requests, values, strict=True)]
    return []


def drawn(requests: Sequence[str], contents: Sequence[str]) -> tuple[Payload, ...]:
    """Requests as candidates for the draw: by a hash of the id, so that draws of replicas make one draw together."""
    ranks = [hashlib.sha256(request.encode()).hexdigest()[:16] for request in requests]
    told = zip(ranks, requests, contents, strict=True)
    return tuple(Payload(rank, request, content) for rank, request, content in told)


def split_by_pane(batch: Batch, window_s: float) -> Iterator[Batch]:
    """The parts of a batch that are in one pane each.

    What is not one sample a request, as nodes of a graph are not, stays whole, in the pane of the first.
    """
    starts = np.asarray([pane_start(moment, window_s) for moment in batch.arrived])
    if not batch.rows or (starts == starts[0]).all() or not batch.is_by_row:
        if batch.rows:
            yield batch
        return
    for start in np.unique(starts):
        yield batch.rows_at(np.flatnonzero(starts == start).tolist())


def joined(batches: Iterable[Batch], window_s: float) -> list[Batch]:
    """Batches of one stream and pane as one, where their arrays are of one shape but for the number of rows."""
    groups: dict[Any, list[Batch]] = {}
    for batch in batches:
        start = pane_start(batch.arrived[0], window_s)
        groups.setdefault((batch.stream, start, _shape(batch) if batch.is_by_row else id(batch)), []).append(batch)
    return [_as_one(group) for group in groups.values()]


def _as_one(group: list[Batch]) -> Batch:
    if len(group) == 1:
        return group[0]
    first = group[0]
    return Batch(
        stream=first.stream,
        arrived=[moment for batch in group for moment in batch.arrived],
        took_s=[seconds for batch in group for seconds in batch.took_s],
        encoded={name: np.concatenate([batch.encoded[name] for batch in group]) for name in first.encoded},
        beside={name: np.concatenate([batch.beside[name] for batch in group]) for name in first.beside},
        answers=[answer for batch in group for answer in batch.answers],
        payloads=tuple(payload for batch in group for payload in batch.payloads),
    )


def _shape(batch: Batch) -> tuple[Any, ...]:
    both = (batch.encoded, batch.beside)
    return tuple(tuple((name, array.shape[1:]) for name, array in sorted(arrays.items())) for arrays in both)
