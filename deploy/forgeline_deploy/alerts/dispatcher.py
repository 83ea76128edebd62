"""Carries what is due to its destinations, each in a thread of its own, and writes down what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from forgeline.errors import ForgelineError
from forgeline_deploy.alerts.outbox import Delivery, Outbox
from forgeline_deploy.alerts.senders import LOGGER, Sender, sender
from forgeline_deploy.alerts.spec import DestinationConfig


class Dispatcher:
    """Delivers by and by; `tick` never waits for the network.

    Args:
        outbox: what is to be delivered.
        senders: name of a destination -> the way there.
    """

    def __init__(self, outbox: Outbox, senders: Mapping[str, Sender]) -> None:
        self._outbox = outbox
        self._senders = dict(senders)
        self._under_way: dict[str, tuple[Delivery, Future[None]]] = {}
        # A thread each, so that one that hangs holds up nobody else.
        self._threads = ThreadPoolExecutor(max(1, len(self._senders)), thread_name_prefix="alerts")

    @classmethod
    def of(cls, outbox: Outbox, destinations: Sequence[DestinationConfig]) -> Dispatcher:
        """To the destinations of a specification."""
        return cls(outbox, {config.name: sender(config) for config in destinations})

    def tick(self, now: float) -> int:
        """Write down what has ended, and send what is due.

        Args:
            now: unix seconds.

        Returns:
            How many deliveries are under way.

        Raises:
            LedgerError: the database does not answer; what was delivered is written down at the next tick.
        """
        for name, (delivery, sent) in list(self._under_way.items()):
            if sent.done():
                self._conclude(delivery, sent, now)
                del self._under_way[name]
        for name in {delivery.to for delivery in self._outbox.waiting} - self._senders.keys():
            self._outbox.drop(name, now)
            _log().error("alerts for %r are given up: the specification no longer has this destination", name)
        for delivery in self._outbox.due(now, busy=self._under_way):
            future = self._threads.submit(self._senders[delivery.to].send, delivery.notice, now)
            self._under_way[delivery.to] = (delivery, future)
        return len(self._under_way)

    def wait(self, timeout_s: float) -> None:
        """Wait for what is under way; the next tick writes it down."""
        wait([sent for _, sent in self._under_way.values()], timeout_s)

    def close(self) -> None:
        """Begin nothing more; what is under way and not written down is delivered again."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _conclude(self, delivery: Delivery, sent: Future[None], now: float) -> None:
        error = sent.exception()
        if error is None:
            self._outbox.delivered(delivery, now)
            return
        # Whatever a bug in a form of message may raise, the queue goes on and the failure is told.
        text = str(error) if isinstance(error, ForgelineError) else f"{type(error).__name__}: {error}"
        again = self._outbox.failed(delivery, text, now)
        level, what = (logging.ERROR, "is given up") if again is None else (logging.WARNING, "is tried again")
        told = (delivery.notice.number, delivery.to, what, delivery.tries + 1, text)
        _log().log(level, "alert notice %d did not reach %r and %s (try %d): %s", *told)


def _log() -> logging.Logger:
    # Not the one that alerts themselves are written to: a count of alerts counts alerts.
    return logging.getLogger(f"{LOGGER}.delivery")
