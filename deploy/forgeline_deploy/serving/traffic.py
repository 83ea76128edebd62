"""Which version of a model answers a request, and which ones only see it.

The ingress asks one object for every request, so that a weighted split, shadow copies and a switch between versions
need no change of what speaks HTTP. The object is exchanged while requests are answered: each keeps the choice that was
made when it arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Columns = Mapping[str, Any]
"""Predictions: name of a column -> one value for each sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Who answers one request.

    Attributes:
        version: whose answer is returned.
        role: that the version has, such as `champion`.
        shadows: versions that get the same samples, whose answers are only told to `Traffic.answered`.
    """

    version: str
    role: str = "champion"
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What became of one request at one version.

    Attributes:
        request_id: the same for the answer that was returned and for those of shadows.
        key: that the version was chosen by.
        version: that answered.
        role: of the version; `shadow` where the answer was not returned.
        arrival: when the request reached the ingress, in Unix seconds.
        seconds: from then to the answer.
        status: of HTTP; what a shadow would have got.
        samples: how many were asked about.
        columns: the predictions; empty where there are none.
    """

    request_id: str
    key: str
    version: str
    role: str
    arrival: float
    seconds: float
    status: int
    samples: int
    columns: Columns = field(default_factory=dict)


class Traffic(Protocol):
    """Chooses versions; lives in the ingress, is called on its event loop, and so must not wait for anything."""

    def choose(self, key: str, now: float) -> Choice:
        """Who answers a request.

        Args:
            key: of whoever asks: the header `X-Sticky-Key`, or the request's id.
            now: Unix seconds at which it arrived.
        """

    def answered(self, answer: Answered) -> None:
        """Told of every answer after it was given, shadows' included."""


@dataclass(frozen=True, slots=True)
class OneVersion:
    """All requests go to one version."""

    version: str
    role: str = "champion"

    def choose(self, key: str, now: float) -> Choice:
        return Choice(version=self.version, role=self.role)

    def answered(self, answer: Answered) -> None:
        """Nobody wants to know."""
