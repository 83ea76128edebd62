"""A stretch of event time that is closed: what all replicas counted in it, stream by stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forgeline_deploy.monitor.pane import Answer, PaneKey, Payload, Stream, Tally

Source = tuple[str, Stream]
"""A replica and a stream that it answers for."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was counted of one stream. `+` merges.

    Attributes:
        answers: by request, ordered by replica.
    """

    tally: Tally
    answers: tuple[Answer, ...] = ()
    payloads: tuple[Payload, ...] = ()

    def __add__(self, other: Part) -> Part:
        return Part(
            tally=self.tally + other.tally,
            answers=(*self.answers, *other.answers),
            payloads=(*self.payloads, *other.payloads),
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """A closed pane over all replicas.

    Attributes:
        key: start of its event time; a generation above 0 is late data, counted and shown but not judged.
        end: of its event time, unix seconds.
        closed: when it was closed, by the collector's clock.
        included: number of the last report that is in it, by source.
        remarks: what a reader has to know of it, such as clocks that disagree.
    """

    key: PaneKey
    end: float
    closed: float
    parts: Mapping[Stream, Part]
    included: Mapping[Source, int]
    remarks: tuple[str, ...] = field(default=())

    @property
    def is_late(self) -> bool:
        """Whether it holds what came after its time."""
        return self.key.generation > 0

    @property
    def rows(self) -> int:
        """Answered rows of all streams."""
        return sum(part.tally.rows for part in self.parts.values())

    @property
    def requests(self) -> int:
        """Requests to all streams."""
        return sum(part.tally.requests for part in self.parts.values())
