"""An alert: what is wrong, with which model, since when, and how much; and what is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from forgeline.ledger.rows import plain

Figure = float | int | str | bool | None


class Severity(StrEnum):
    """How urgent it is: harm pages a person, drift writes a ticket."""

    TICKET = "ticket"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """More is worse."""
        return list(Severity).index(self)


class Event(StrEnum):
    """Why an alert is told."""

    RAISED = "raised"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """Something that a person should know. Moments are unix seconds.

    Attributes:
        kind: what sort of thing, such as `drift`, `harm`, `latency`, `errors`, `rollback`, `retraining`.
        severity: how urgent.
        deployment: name of the deployment.
        run_id: its run.
        model: the model version it is about, such as `digits/3`.
        subject: the feature, output or metric; "" for the whole deployment.
        summary: one sentence for a person.
        first: when it began.
        last: when it was seen last.
        window: beginning and end of the window in which it was seen last; None where there is none.
        figures: what was measured, by name, with units in the names.
    """

    kind: str
    severity: Severity
    deployment: str
    run_id: str
    model: str
    subject: str
    summary: str
    first: float
    last: float
    window: tuple[float, float] | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes it the same alert the next time: kind and subject within the run, whatever its figures are."""
        text = "\x1f".join((self.run_id, self.kind, self.subject))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; `from_dict` reads it back."""
        found: dict[str, Any] = plain(asdict(self) | {"severity": str(self.severity)})
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Alert:
        """Of what `to_dict` made."""
        window = data["window"]
        known = {"severity": Severity(data["severity"]), "window": None if window is None else tuple(window)}
        return cls(**{**data, **known})


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One message about an alert.

    Attributes:
        number: its place among the deployment's notices, counted from 0.
        event: why it is sent.
        at: when it was decided, in unix seconds.
        alert: as it stood then.
        to: names of the destinations.
        before: the severity that it had before it worsened.
    """

    number: int
    event: Event
    at: float
    alert: Alert
    to: tuple[str, ...]
    before: Severity | None = None

    @property
    def idempotency_key(self) -> str:
        """The same however often this notice is sent."""
        return f"{self.alert.run_id}-{self.number}"

    def to_entry(self) -> dict[str, Any]:
        """Its entry in the journal."""
        return {
            "entry": NOTICE,
            "number": self.number,
            "event": str(self.event),
            "at": self.at,
            "alert": self.alert.to_dict(),
            "to": list(self.to),
            "before": None if self.before is None else str(self.before),
        }

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Notice:
        """Of what `to_entry` made."""
        return cls(
            number=entry["number"],
            event=Event(entry["event"]),
            at=entry["at"],
            alert=Alert.from_dict(entry["alert"]),
            to=tuple(entry["to"]),
            before=None if entry["before"] is None else Severity(entry["before"]),
        )


NOTICE = "alert.notice"
"""Entry of the journal that says that something will be told; what became of it follows in entries of the outbox."""
