"""What is still to be delivered, to whom, and when it is tried next: delivery at least once, in order.

A notice counts as delivered when that is in the journal. Killed between delivery and entry, it is delivered again, with
the same idempotency key. Each destination has its own queue, so that one that is down holds up nobody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from forgeline.ledger.decisions import Decisions, Entries, Entry
from forgeline_deploy.alerts.alert import NOTICE, Notice

DELIVERED, FAILED, GIVEN_UP = "alert.delivered", "alert.failed", "alert.given_up"

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0
GIVE_UP_AFTER_S = 3 * 86_400.0
"""How long a notice is tried to be delivered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A notice on its way to one destination.

    Attributes:
        notice: what is sent.
        to: name of the destination.
        tries: how often it failed.
        first_try: when it failed first, in unix seconds.
        again: when it is tried next.
        error: why it failed last.
    """

    notice: Notice
    to: str
    tries: int = 0
    first_try: float | None = None
    again: float = 0.0
    error: str | None = None


class Outbox(Decisions):
    """The queues of a deployment's notices, by destination.

    Args:
        journal: of the deployment's run.
    """

    def __init__(self, journal: Entries) -> None:
        super().__init__(journal)
        self._queues: dict[str, dict[int, Delivery]] = {}
        self._given_up: list[Delivery] = []
        self._catch_up()

    @property
    def waiting(self) -> Sequence[Delivery]:
        """All that is to be delivered, by destination, first to last."""
        self._catch_up()
        return [delivery for queue in self._queues.values() for delivery in queue.values()]

    @property
    def given_up(self) -> Sequence[Delivery]:
        """What was never delivered."""
        self._catch_up()
        return tuple(self._given_up)

    def due(self, now: float, *, busy: Collection[str] = ()) -> list[Delivery]:
        """The first notice of each destination that is not busy, where it may be tried now."""
        self._catch_up()
        heads = [next(iter(queue.values())) for name, queue in self._queues.items() if queue and name not in busy]
        return [delivery for delivery in heads if delivery.again <= now]

    def delivered(self, delivery: Delivery, now: float) -> None:
        """It arrived. Said twice (of two controllers, say) it is written once."""
        self._conclude(delivery, {"entry": DELIVERED, "at": now})

    def failed(self, delivery: Delivery, error: str, now: float) -> Delivery | None:
        """It did not arrive: try again later, or, after `GIVE_UP_AFTER_S`, never.

        Returns:
            What is tried again; None where it was given up.
        """
        tries, first = delivery.tries + 1, now if delivery.first_try is None else delivery.first_try
        told = {"at": now, "tries": tries, "error": error[:500]}
        if now - first >= GIVE_UP_AFTER_S:
            self._conclude(delivery, {"entry": GIVEN_UP, **told})
            return None
        again = now + wait_s(delivery.notice.idempotency_key + delivery.to, tries)
        self._conclude(delivery, {"entry": FAILED, **told, "first_try": first, "again": again})
        return self._queues.get(delivery.to, {}).get(delivery.notice.number)

    def drop(self, name: str, now: float) -> None:
        """Give up what waits for a destination that the specification no longer has."""
        for delivery in [each for each in self.waiting if each.to == name]:
            error = "the specification no longer has this destination"
            self._conclude(delivery, {"entry": GIVEN_UP, "at": now, "tries": delivery.tries, "error": error})

    def _conclude(self, delivery: Delivery, told: dict[str, object]) -> None:
        number = delivery.notice.number
        entry = {**told, "number": number, "to": delivery.to}

        def step() -> list[Entry]:
            known = self._queues.get(delivery.to, {}).get(number)
            # Of a failure that another controller wrote down already there is nothing new to say.
            stale = known is None or (told["entry"] == FAILED and known.tries > delivery.tries)
            return [] if stale else [entry]

        self._decide(step)

    def _take(self, entry: Entry) -> None:
        kind = entry["entry"]
        if kind == NOTICE:
            notice = Notice.from_entry(entry)
            for name in notice.to:
                self._queues.setdefault(name, {})[notice.number] = Delivery(notice=notice, to=name)
        elif kind in (DELIVERED, FAILED, GIVEN_UP):
            queue, number = self._queues[entry["to"]], entry["number"]
            if number in queue:
                self._took(kind, queue, queue[number], entry)

    def _took(self, kind: str, queue: dict[int, Delivery], known: Delivery, entry: Entry) -> None:
        number = known.notice.number
        if kind == DELIVERED:
            del queue[number]
            return
        failed = Delivery(
            notice=known.notice,
            to=known.to,
            tries=entry["tries"],
            first_try=entry.get("first_try"),
            again=entry.get("again", 0.0),
            error=entry["error"],
        )
        if kind == FAILED:
            queue[number] = failed
        else:
            self._given_up.append(failed)
            del queue[number]


def wait_s(seed: str, tries: int) -> float:
    """Seconds to wait after so many failures: doubled each time up to `LONGEST_WAIT_S`, between half and all of it.

    Where in between follows from the seed, so that many that failed together do not come back together, and that
    what was decided can be replayed.

    >>> wait_s("a", 1) <= 5, 1800 <= wait_s("a", 20) <= 3600
    (True, True)
    """
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries - 1, 30))
    drawn = int.from_bytes(hashlib.sha256(f"{seed}/{tries}".encode()).digest()[:8], "big") / 2**64
    return longest * (0.5 + 0.5 * drawn)
