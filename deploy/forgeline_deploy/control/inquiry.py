"""Questions that others may take long to answer, as MLflow may: whoever decides goes on, and has the answer later."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

from forgeline.errors import TrackingError

T = TypeVar("T")

PATIENCE_S = 30.0
"""Time without an answer after which that is told; an answer that comes later is taken all the same."""


class Inquiry:
    """Asks one question at a time, in a thread of its own. One thread at a time.

    Args:
        whom: who is asked, in words.
        every_s: least time between the beginnings of two questions.
    """

    def __init__(self, whom: str, *, every_s: float) -> None:
        self._whom, self._every_s = whom, every_s
        self._thread = ThreadPoolExecutor(1, "inquiry")
        self._under_way: tuple[Hashable, Future[Any]] | None = None
        self._begun = float("-inf")
        self._failure: tuple[Hashable, BaseException] | None = None

    def answer(self, about: Hashable, ask: Callable[[], T], now: float) -> T | None:
        """The answer to a question that was begun earlier; None where it is not there, or is begun now.

        Args:
            about: what tells questions apart: the answer to another one than this is dropped.
            ask: returns anything but None.
            now: unix seconds.

        Raises:
            TrackingError: there has been no answer for `PATIENCE_S`.
            Exception: what `ask` raised last about this, until it gives an answer.
        """
        if self._under_way is not None and self._under_way[1].done():
            known, asked = self._under_way
            error = asked.exception()
            self._under_way, self._failure = None, None if error is None else (known, error)
            if known == about and error is None:
                return cast(T, asked.result())
        if self._under_way is None and now >= self._begun + self._every_s:
            self._begun = now
            self._under_way = about, self._thread.submit(ask)
        if self._failure is not None and self._failure[0] != about:
            self._failure = None
        if self._failure is not None:
            raise self._failure[1]
        if self._under_way is not None and now - self._begun > PATIENCE_S:
            raise TrackingError(f"{self._whom} has not answered for {now - self._begun:.0f} s")
        return None

    def close(self) -> None:
        """Ask nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
