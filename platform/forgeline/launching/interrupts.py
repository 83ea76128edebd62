"""Ctrl-C in a process that watches a run: the run is asked to stop, and the process goes on watching."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_go_to(interrupt: Callable[[], None]) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM of this process ask the run to stop; only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: interrupt()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
