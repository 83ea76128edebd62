"""The collecting side: reports of many replicas in, closed windows out. Pure: time comes in as an argument.

- A pane is closed once every replica that lives has reported after its end and the allowed lateness, by the clock of
  the collector alone: a replica's own clock can neither hold a window back nor close it early.
- A replica that says nothing for a while is taken for dead, and told of in the window; what it had said is in it.
- What comes after a pane was closed is a pane of its own, of the next generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forgeline_deploy.monitor.pane import (
    Answer,
    Delivery,
    PaneKey,
    PaneReport,
    Payload,
    Receipt,
    Stream,
    Tally,
    keep_smallest,
)
from forgeline_deploy.monitor.window import Part, Source, Window

SKEW_TOLD_S = 1.0
"""Difference of two clocks from which on it is told; a delivery itself takes a part of a second."""
_MOST_REMARKS = 20


@dataclass
class _Held:
    """The newest report of a source about an open pane, and all answers so far."""

    report: PaneReport
    answers: list[Answer] = field(default_factory=list)
    payloads: tuple[Payload, ...] = ()


@dataclass
class _Open:
    first_heard: float
    held: dict[Source, _Held] = field(default_factory=dict)


class Collector:
    """Puts windows together.

    Args:
        id: another one for each start of the collecting process.
        window_s: length of a window in seconds.
        lateness_s: how long after its end a window waits for what is still under way.
        silent_after_s: a replica that said nothing for so long does not hold windows back.
        started: when it began to listen, unix seconds. Nothing is closed before every replica had time to report.
        sample_payloads: payloads that are kept of a window and stream.
    """

    def __init__(
        self,
        *,
        id: str,
        window_s: float,
        lateness_s: float,
        silent_after_s: float,
        started: float,
        sample_payloads: int = 0,
    ) -> None:
        self.id = id
        self._window_s, self._lateness_s, self._silent_after_s = window_s, lateness_s, silent_after_s
        self._started, self._sample_payloads = started, sample_payloads
        self._open: dict[PaneKey, _Open] = {}
        self._heard: dict[str, float] = {}
        self._skew: dict[str, float] = {}
        self._dropped: dict[str, int] = {}
        self._closing: dict[PaneKey, Mapping[Source, int]] = {}
        self._stored: dict[PaneKey, Mapping[Source, int]] = {}
        self._closed_to = float("-inf")

    def restore(self, stored: Mapping[PaneKey, Mapping[Source, int]]) -> None:
        """Take over what is in windows that were stored before."""
        self._stored |= stored
        ends = (key.start + self._window_s for key in stored if not key.generation)
        self._closed_to = max(ends, default=self._closed_to)

    def receive(self, delivery: Delivery, now: float) -> Receipt:
        """Take a delivery, or refuse it where it was meant for another collector; either way the receipt says so."""
        if delivery.collector != self.id:
            return Receipt(collector=self.id)
        self._heard[delivery.replica] = max(now, self._heard.get(delivery.replica, now))
        self._skew[delivery.replica] = delivery.clock - now
        if delivery.dropped_rows:
            self._dropped[delivery.replica] = delivery.dropped_rows
        for report in delivery.reports:
            self._take(delivery.replica, report, now)
        return self._receipt(delivery)

    def close(self, now: float, *, all: bool = False) -> list[Window]:
        """Windows whose time has come, or `all`, the earliest first. Each is held until `stored` is called for it."""
        passed = self._passed(now)
        due = [key for key, pane in self._open.items() if all or self._is_due(key, pane, now, passed)]
        # All that came in time is judged in the order of its time, so an earlier pane is never left behind.
        closed = [self._closed(key, now) for key in sorted(due)]
        self._closed_to = max(self._closed_to, *(w.end for w in closed if not w.is_late), self._closed_to)
        return closed

    def stored(self, key: PaneKey) -> None:
        """A window is safe, or lost for good: its replicas are told, and may forget what is in it."""
        self._stored[key] = self._closing.pop(key)

    @property
    def open_panes(self) -> int:
        """Panes that are not closed yet."""
        return len(self._open)

    def replicas(self, now: float) -> dict[str, float]:
        """Seconds since each replica that lives was last heard."""
        return {replica: now - heard for replica, heard in self._heard.items() if self._lives(heard, now)}

    def _take(self, replica: str, report: PaneReport, now: float) -> None:
        key, source = report.key, (replica, report.stream)
        if self._is_closed(key):
            return
        pane = self._open.setdefault(key, _Open(first_heard=now))
        held = pane.held.get(source)
        if held is None:
            held = pane.held[source] = _Held(report)
        elif report.sequence > held.report.sequence:
            held.report = report
        if report.answers_from <= len(held.answers):
            held.answers += report.answers[len(held.answers) - report.answers_from :]
        held.payloads = keep_smallest(held.payloads, report.payloads, self._sample_payloads)

    def _is_closed(self, key: PaneKey) -> bool:
        if key in self._stored or key in self._closing:
            return True
        return key.generation == 0 and key.start + self._window_s <= self._closed_to

    def _receipt(self, delivery: Delivery) -> Receipt:
        replica, taken, answers, closed = delivery.replica, {}, {}, {}
        reported = [(report.stream, report.key) for report in delivery.reports]
        for stream, key in reported:
            held = self._open[key].held.get((replica, stream)) if key in self._open else None
            if held is not None:
                taken[stream, key] = held.report.sequence
                answers[stream, key] = len(held.answers)
        for stream, key in {*delivery.holds, *reported}:
            # One that is closed and not stored yet is neither: its replica waits.
            if self._is_closed(key) and key not in self._closing:
                closed[stream, key] = self._stored.get(key, {}).get((replica, stream), 0)
        return Receipt(collector=self.id, taken=taken, answers=answers, closed=closed)

    def _lives(self, heard: float, now: float) -> bool:
        return now - heard <= self._silent_after_s

    def _passed(self, now: float) -> float:
        """Up to when all is known to have arrived."""
        if now - self._started < self._silent_after_s:
            return float("-inf")
        living = [heard for heard in self._heard.values() if self._lives(heard, now)]
        return min(living, default=now) - self._lateness_s

    def _is_due(self, key: PaneKey, pane: _Open, now: float, passed: float) -> bool:
        if key.generation:
            return now >= pane.first_heard + self._window_s
        return key.start + self._window_s <= passed

    def _closed(self, key: PaneKey, now: float) -> Window:
        pane = self._open.pop(key)
        self._closing[key] = {source: held.report.sequence for source, held in sorted(pane.held.items())}
        streams = sorted({stream for _, stream in pane.held})
        return Window(
            key=key,
            end=key.start + self._window_s,
            closed=now,
            parts={stream: self._part(stream, pane.held) for stream in streams},
            included=self._closing[key],
            remarks=tuple(self._remarks(pane.held, now))[:_MOST_REMARKS],
        )

    def _part(self, stream: Stream, held: Mapping[Source, _Held]) -> Part:
        mine = [held[source] for source in sorted(held) if source[1] == stream]
        payloads: tuple[Payload, ...] = ()
        for one in mine:
            payloads = keep_smallest(payloads, one.payloads, self._sample_payloads)
        return Part(
            tally=sum((one.report.tally for one in mine), start=Tally()),
            answers=tuple(answer for one in mine for answer in one.answers),
            payloads=payloads,
        )

    def _remarks(self, sources: Iterable[Source], now: float) -> Iterable[str]:
        for replica in sorted({replica for replica, _ in sources}):
            heard, skew = self._heard.get(replica, now), self._skew.get(replica, 0.0)
            if not self._lives(heard, now):
                yield (
                    f"replica {replica} has said nothing for {now - heard:.0f} s; what it counted and did not say, if "
                    "it still lives, comes as late data"
                )
            if abs(skew) >= SKEW_TOLD_S:
                yield f"the clock of replica {replica} is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
            if dropped := self._dropped.get(replica, 0):
                yield f"replica {replica} had to forget up to {dropped:,} rows since it began: nobody took its reports"
