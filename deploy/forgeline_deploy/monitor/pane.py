"""What a replica counted in a stretch of event time, and the reports by which a collector learns of it.

A report says all that a replica has counted of a pane so far, under a number that grows: the highest number stands for
the others, so that a report may come twice, late, or not at all, and nothing is counted twice or lost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forgeline.bundle.observation import Observation
from forgeline_deploy.monitor.latency import LatencyCounts


@dataclass(frozen=True, order=True)
class Stream:
    """The requests that one version answered in one role.

    Attributes:
        role: `champion`, `challenger` or `shadow`; more are allowed.
        version: of the registered model, or the digest of a bundle without one.
    """

    role: str
    version: str

    def __str__(self) -> str:
        return f"{self.role} {self.version}"


@dataclass(frozen=True, order=True)
class PaneKey:
    """A pane of event time.

    Attributes:
        start: unix seconds, a multiple of the window's length.
        generation: 0 of what came in time; one more for what came after the pane of the generation before was closed.
    """

    start: float
    generation: int = 0


@dataclass(frozen=True)
class Answer:
    """What was answered to a request, kept until labels arrive.

    Attributes:
        request: its id.
        prediction: the predicted class or number, as text.
        confidence: probability of the predicted class; None of numbers.
    """

    request: str
    prediction: str
    confidence: float | None = None


@dataclass(frozen=True)
class Payload:
    """A request as it came, of those that were drawn; a smaller `rank` is kept rather than a larger one."""

    rank: str
    request: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of requests and of what was in them. `+` merges, in any order.

    Attributes:
        observation: inputs and outputs in the reference's bins; None before the first answered row.
        latency: of answered requests.
        requests: all of them.
        errors: those that failed on our side.
        refused: those that were no valid input, by what was wrong with them.
    """

    observation: Observation | None = None
    latency: LatencyCounts = field(default_factory=LatencyCounts.of)
    requests: int = 0
    errors: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that were answered."""
        return self.observation.rows if self.observation is not None else 0

    def __add__(self, other: Tally) -> Tally:
        both = [part for part in (self.observation, other.observation) if part is not None]
        refused = Counter(self.refused)
        refused.update(other.refused)
        return Tally(
            observation=both[0] + both[1] if len(both) == 2 else (both[0] if both else None),
            latency=self.latency + other.latency,
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            refused=dict(sorted(refused.items())),
        )


@dataclass(frozen=True, kw_only=True)
class PaneReport:
    """All that a replica counted of a pane up to this report.

    Attributes:
        sequence: grows with what was counted, from 1.
        answers: from the `answers_from`th on; those before, the collector said it has.
        payloads: all of the draw so far.
    """

    stream: Stream
    key: PaneKey
    sequence: int
    tally: Tally
    answers_from: int = 0
    answers: tuple[Answer, ...] = ()
    payloads: tuple[Payload, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a replica sends at once; empty, it says that the replica lives and has counted nothing new.

    Attributes:
        replica: an id that no other process, and no earlier life of this one, has.
        clock: what time the replica takes it for, unix seconds.
        collector: the collector that it last heard from; empty before the first.
        holds: panes that it keeps until it hears that their windows are stored.
        dropped_rows: rows that it had to forget since it began, because nobody took its reports for too long.
    """

    replica: str
    clock: float
    collector: str
    reports: tuple[PaneReport, ...] = ()
    holds: tuple[tuple[Stream, PaneKey], ...] = ()
    dropped_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the collector has of a replica. `(stream, key)` names a pane of it.

    Attributes:
        collector: its id, another one after each of its starts. A delivery to another id was not taken.
        taken: number of the report it has, of panes that are open.
        answers: how many answers of the pane it has.
        closed: of panes that it holds and whose window is stored, the number that is in the window; 0 where nothing is.
            What was counted after that number belongs to the pane of the next generation.
    """

    collector: str
    taken: Mapping[tuple[Stream, PaneKey], int] = field(default_factory=dict)
    answers: Mapping[tuple[Stream, PaneKey], int] = field(default_factory=dict)
    closed: Mapping[tuple[Stream, PaneKey], int] = field(default_factory=dict)


def pane_start(moment: float, window_s: float) -> float:
    """Start of the pane that an event at this moment is in.

    >>> pane_start(725.0, 300.0)
    600.0
    """
    return math.floor(moment / window_s) * window_s


def keep_smallest(one: tuple[Any, ...], other: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Of two draws by rank the draw of both: the `count` smallest ranks, each once."""
    merged = {payload.rank: payload for payload in (*one, *other)}
    return tuple(merged[rank] for rank in sorted(merged)[:count])
