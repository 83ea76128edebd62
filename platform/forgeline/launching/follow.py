"""Following a run by its events, from its launch or from another terminal, until it ends.

A driver that dies without a last event is noticed, and what the ledger says is put right: a run without a process is
never shown as running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from forgeline.launching.events import Event, EventReader, is_last

POLL_S = 0.05


def follow(
    path: Path,
    *,
    alive: Callable[[], bool],
    on_death: Callable[[], Event],
    start: int = 0,
    poll_s: float = POLL_S,
) -> Iterator[Event]:
    """Yield events until the last one.

    Args:
        path: the event file, which may not exist yet; it may be renamed once it is open.
        alive: whether whoever writes the events still lives.
        on_death: settles a run whose driver died, and gives the event that ends it.
        start: byte of the file to begin at.
        poll_s: pause between looks.
    """
    reader = EventReader(path, start=start)
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
