"""The counting side of monitoring, inside each replica: what was asked and answered, by panes of event time.

- A batch is only put aside when it is answered; once a second all of them are counted together, which is cheaper.
- A pane is kept until its window is stored, so that a collector that was killed is told all of it again.
- Nobody waits for the collector: while it is away, counting goes on in bounded memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forgeline.bundle.observation import Observation
from forgeline_deploy.monitor.batches import Batch, joined, split_by_pane
from forgeline_deploy.monitor.latency import LatencyCounts
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
    pane_start,
)

Count = Callable[[Batch], Observation]

MOST_PANES = 48
"""Panes that are kept while no collector takes them; with windows of five minutes, four hours of them."""
MOST_ANSWERS = 200_000
"""Answers per pane that are kept for labels."""
MOST_WAITING_ROWS = 4096
"""Rows that are put aside before they are counted at once, by whoever brings the next ones."""
_PANES_A_DELIVERY = 16


@dataclass
class _Pane:
    """A pane on its way: what the collector has confirmed, what it was sent and may have, and what is newer."""

    confirmed: Tally = field(default_factory=Tally)
    number: int = 0
    sent: Tally | None = None
    fresh: Tally | None = None
    answers: list[Answer] = field(default_factory=list)
    confirmed_answers: int = 0  # that came with what is confirmed
    sent_answers: int = 0  # and with what was sent
    payloads: tuple[Payload, ...] = ()
    known: bool = False  # whether the collector that now is has what is confirmed
    held_answers: int = 0  # that it has

    @property
    def rows(self) -> int:
        return sum(part.rows for part in (self.confirmed, self.sent, self.fresh) if part is not None)


class PaneRecorder:
    """Counts for one replica. Safe to use from several threads.

    Args:
        replica: an id that no other process has or had.
        count: counts the samples of a batch in the bins of the reference.
        window_s: length of a pane in seconds, as the monitor has it.
        now: the clock, in unix seconds.
        keep_answers: whether answers are kept for labels.
        sample_payloads: payloads that are kept of a pane.
    """

    def __init__(
        self,
        *,
        replica: str,
        count: Count,
        window_s: float,
        now: Callable[[], float],
        keep_answers: bool = False,
        sample_payloads: int = 0,
    ) -> None:
        self._replica, self._count, self._window_s, self._now = replica, count, window_s, now
        self._keep_answers, self._sample_payloads = keep_answers, sample_payloads
        self._lock = threading.Lock()
        self._waiting: list[Batch] = []
        self._waiting_rows = 0
        self._panes: dict[tuple[Stream, PaneKey], _Pane] = {}
        self._closed: dict[tuple[Stream, float], int] = {}
        self._collector = ""
        self.dropped_rows = 0

    def record(self, batch: Batch) -> None:
        """Put a batch that was answered aside; it is counted within a second, or when there are many."""
        with self._lock:
            self._waiting.append(batch)
            self._waiting_rows += batch.rows
            if self._waiting_rows >= MOST_WAITING_ROWS:
                self._count_waiting()

    def failed(self, stream: Stream, arrived: Sequence[float], took_s: Sequence[float]) -> None:
        """Count requests that failed on our side."""
        for moment, seconds in zip(arrived, took_s, strict=True):
            self._add(stream, moment, Tally(requests=1, errors=1, latency=LatencyCounts.of([seconds])))

    def refused(self, stream: Stream, arrived: float, reason: str) -> None:
        """Count a request that was no valid input, by what was wrong with it, such as the name of a field."""
        self._add(stream, arrived, Tally(requests=1, refused={reason: 1}))

    def delivery(self) -> Delivery:
        """What is to be sent now. Until its receipt is known, the next one says the same of the same panes."""
        with self._lock:
            self._count_waiting()
            reports: list[PaneReport] = []
            for (stream, key), pane in sorted(self._panes.items(), key=lambda item: (item[0][1], item[0][0])):
                if len(reports) == _PANES_A_DELIVERY:
                    break
                if (report := _next_report(stream, key, pane)) is not None:
                    reports.append(report)
            return Delivery(
                replica=self._replica,
                clock=self._now(),
                collector=self._collector,
                reports=tuple(reports),
                holds=tuple(self._panes),
                dropped_rows=self.dropped_rows,
            )

    def receive(self, receipt: Receipt) -> bool:
        """Take note of what the collector has.

        Returns:
            Whether it is another collector than before, to which everything has to be said again, at once.
        """
        with self._lock:
            another = receipt.collector != self._collector
            self._collector = receipt.collector
            for pane in self._panes.values() if another else ():
                pane.known, pane.held_answers = False, 0
            for place, number in receipt.taken.items():
                if (taken := self._panes.get(place)) is not None:
                    _confirm(taken, number, receipt.answers.get(place, 0))
            for place, number in receipt.closed.items():
                self._close(place, number)
            return another

    def exchange(self, send: Callable[[Delivery], Receipt]) -> None:
        """Deliver once, and again where a new collector has to be told everything."""
        for _ in range(2):
            if not self.receive(send(self.delivery())):
                return

    def _add(self, stream: Stream, moment: float, tally: Tally) -> None:
        with self._lock:
            self._into(stream, moment, tally)

    def _into(self, stream: Stream, moment: float, tally: Tally) -> _Pane:
        start = pane_start(moment, self._window_s)
        place = stream, PaneKey(start, self._closed.get((stream, start), 0))
        pane = self._panes.get(place)
        if pane is None:
            self._make_room()
            pane = self._panes[place] = _Pane()
        pane.fresh = tally if pane.fresh is None else pane.fresh + tally
        return pane

    def _count_waiting(self) -> None:
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        parts = [part for batch in waiting for part in split_by_pane(batch, self._window_s)]
        for batch in joined(parts, self._window_s):
            observation = self._count(batch)
            tally = Tally(observation=observation, latency=LatencyCounts.of(batch.took_s), requests=len(batch.arrived))
            pane = self._into(batch.stream, batch.arrived[0], tally)
            if self._keep_answers:
                pane.answers += batch.answers[: max(MOST_ANSWERS - len(pane.answers), 0)]
            if self._sample_payloads:
                pane.payloads = keep_smallest(pane.payloads, batch.payloads, self._sample_payloads)

    def _make_room(self) -> None:
        while len(self._panes) >= MOST_PANES:
            stream, key = oldest = min(self._panes, key=lambda place: place[1])
            self.dropped_rows += self._panes.pop(oldest).rows
            # Counted anew from here, under other numbers than those that may still arrive.
            self._begin_after(stream, key)

    def _close(self, place: tuple[Stream, PaneKey], number: int) -> None:
        """The pane's window is stored. What is not in it is counted in the next generation."""
        pane, (stream, key) = self._panes.pop(place, None), place
        if pane is None:
            return
        self._begin_after(stream, key)
        left = _not_stored(pane, number)
        if left is not None:
            later = self._into(stream, key.start, left)
            later.answers += pane.answers[_stored_answers(pane, number) :]

    def _begin_after(self, stream: Stream, key: PaneKey) -> None:
        self._closed[stream, key.start] = max(self._closed.get((stream, key.start), 0), key.generation + 1)
        while len(self._closed) > 100 * MOST_PANES:
            del self._closed[min(self._closed, key=lambda known: known[1])]


def _next_report(stream: Stream, key: PaneKey, pane: _Pane) -> PaneReport | None:
    if pane.sent is None and pane.fresh is not None:
        pane.sent, pane.fresh, pane.number = pane.fresh, None, pane.number + 1
        pane.sent_answers = len(pane.answers)
    if pane.sent is None and pane.known:
        return None
    return PaneReport(
        stream=stream,
        key=key,
        sequence=pane.number,
        tally=pane.confirmed if pane.sent is None else pane.confirmed + pane.sent,
        answers_from=pane.held_answers,
        answers=tuple(pane.answers[pane.held_answers : pane.sent_answers]),
        payloads=pane.payloads,
    )


def _confirm(pane: _Pane, number: int, answers: int) -> None:
    pane.held_answers = answers
    if number == pane.number:
        pane.known, pane.confirmed_answers = True, pane.sent_answers
        if pane.sent is not None:
            pane.confirmed, pane.sent = pane.confirmed + pane.sent, None


def _not_stored(pane: _Pane, number: int) -> Tally | None:
    """What was counted after the report with this number, as far as it is known what that was."""
    parts = [pane.fresh]
    sent_is_stored = pane.sent is None or number >= pane.number
    if not sent_is_stored:
        parts.append(pane.sent)
    if number == 0 and pane.confirmed.requests:
        # The collector that confirmed it was killed, and the window was stored without this replica.
        parts.append(pane.confirmed)
    found = [part for part in parts if part is not None]
    return None if not found else sum(found[1:], start=found[0])


def _stored_answers(pane: _Pane, number: int) -> int:
    if number == 0:
        return 0
    return pane.sent_answers if number >= pane.number else pane.confirmed_answers
