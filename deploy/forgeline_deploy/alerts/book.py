"""Which alerts stand, and when one is told: once, again when it worsens or lasts, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from forgeline.ledger.decisions import Decisions, Entries, Entry
from forgeline_deploy.alerts.alert import NOTICE, Alert, Event, Notice, Severity
from forgeline_deploy.alerts.spec import DestinationConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An alert and what was told of it.

    Attributes:
        alert: as it was told last; its severity is the worst since it began.
        told: name of a destination -> when it was told last.
        resolved: when it was over; None while it lasts.
        notices: how many there were.
    """

    alert: Alert
    told: dict[str, float]
    resolved: float | None
    notices: int


class AlertBook(Decisions):
    """Decides what is told to whom; each decision is in the journal before it counts.

    Args:
        journal: of the deployment's run.
        destinations: where alerts go.
        over: is told of each alert that is over, first to last; the book itself forgets it.
    """

    def __init__(
        self,
        journal: Entries,
        destinations: Sequence[DestinationConfig],
        *,
        over: Callable[[Standing], object] = lambda standing: None,
    ) -> None:
        super().__init__(journal)
        self._destinations = tuple(destinations)
        self._standing: dict[str, Standing] = {}
        self._over = over
        self._next = 0
        self._catch_up()

    @property
    def open(self) -> tuple[Standing, ...]:
        """Alerts that last, first to last."""
        self._catch_up()
        return tuple(self._standing.values())

    def see(self, alert: Alert, now: float) -> Event | None:
        """An alert is there (now, or still): tell it where it is new, worse, or was told long ago.

        Args:
            alert: as it stands; when it began is taken from when it was first seen.
            now: unix seconds.

        Returns:
            Why it is told; None where everybody knows.

        Raises:
            LedgerError: it could not be written down, and is not told.
        """
        return self._tell(lambda: self._notice(alert, now))

    def clear(self, key: str, now: float, *, summary: str | None = None) -> Event | None:
        """An alert is over: tell those who were told of it. One that does not stand changes nothing.

        Args:
            key: of the alert.
            now: unix seconds.
            summary: how it ended, in one sentence.
        """
        return self._tell(lambda: self._end(key, now, summary))

    def _tell(self, notice: Callable[[], Notice | None]) -> Event | None:
        def step() -> list[Entry]:
            found = notice()
            return [] if found is None else [found.to_entry()]

        told = self._decide(step)
        return Event(told[0]["event"]) if told else None

    def _notice(self, alert: Alert, now: float) -> Notice | None:
        known = self._standing.get(alert.key)
        if known is None:
            return self._new(Event.RAISED, replace(alert, last=now), now, self._reached(alert.severity))
        worst = max(alert.severity, known.alert.severity, key=lambda severity: severity.rank)
        current = replace(alert, first=known.alert.first, last=now, severity=worst)
        if worst is not known.alert.severity:
            return self._new(Event.WORSENED, current, now, self._reached(worst), before=known.alert.severity)
        late = [
            each.name
            for each in self._destinations
            if each.name in known.told and now - known.told[each.name] >= each.remind.total_seconds()
        ]
        return self._new(Event.REMINDER, current, now, late) if late else None

    def _end(self, key: str, now: float, summary: str | None) -> Notice | None:
        known = self._standing.get(key)
        if known is None:
            return None
        over = replace(known.alert, last=now, summary=summary or f"over: {known.alert.summary}")
        names = [each.name for each in self._destinations if each.name in known.told]
        return self._new(Event.RESOLVED, over, now, names)

    def _new(
        self, event: Event, alert: Alert, now: float, to: Iterable[str], *, before: Severity | None = None
    ) -> Notice:
        return Notice(number=self._next, event=event, at=now, alert=alert, to=tuple(to), before=before)

    def _reached(self, severity: Severity) -> list[str]:
        return [each.name for each in self._destinations if severity.rank >= each.severity.rank]

    def _take(self, entry: Entry) -> None:
        if entry["entry"] != NOTICE:
            return
        notice = Notice.from_entry(entry)
        self._next = notice.number + 1
        known = self._standing.pop(notice.alert.key, None)
        told = {**(known.told if known else {}), **dict.fromkeys(notice.to, notice.at)}
        over = notice.event is Event.RESOLVED
        standing = Standing(
            alert=notice.alert,
            told=told,
            resolved=notice.at if over else None,
            notices=1 + (known.notices if known else 0),
        )
        if over:
            self._over(standing)
        else:
            self._standing[notice.alert.key] = standing
