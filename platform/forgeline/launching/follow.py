"""Following a run by its events, from its launch or from another terminal, until it ends.

A driver that dies without a last event is noticed, and what the ledger says is put right: a run without a process is
never shown as running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from forgeline.launching.events import Event, EventReader, is_last

POLL_S = 0.05


def follow(
    reader: EventReader,
    *,
    alive: Callable[[], bool],
    on_death: Callable[[], Event],
    poll_s: float = POLL_S,
) -> Iterator[Event]:
    """Yield events until the last one.

    Args:
        reader: of the event file; closed at the end.
        alive: whether whoever writes the events still lives.
        on_death: settles a run whose driver died, and gives the event that ends it.
        poll_s: pause between looks.
    """
    try:
        while True:
            # Asked before reading: what a driver wrote before it died is still read.
            living = alive()
            for event in reader.read_new():
                yield event
                if is_last(event):
                    return
            if not living:
                yield on_death()
                return
            time.sleep(poll_s)
    finally:
        reader.close()
