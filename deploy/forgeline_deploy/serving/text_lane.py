"""Texts that the replicas of one version write: so many at a time, and none that is waited for without an end.

A replica writes one piece after the other for as long as somebody takes them: a text that is left is closed at its
source, so that nobody's words keep others from theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from forgeline_deploy.serving.refusal import Refused

Stream = Callable[[str, Mapping[str, Any]], AsyncGenerator[str]]
"""Prompt and settings -> the pieces of the text behind it; closed early, the replica is told to stop."""


class TextLane:
    """One version's texts; belongs to the event loop that it is used on.

    Args:
        stream: asks any replica.
        most: texts that are written or wait for a replica at a time.
        patience_s: longest time until the next piece of a text.
    """

    def __init__(self, stream: Stream, *, most: int, patience_s: float) -> None:
        self._stream, self._most, self._patience_s = stream, most, patience_s
        self._writing = 0

    @property
    def writing(self) -> int:
        """Texts that are being written."""
        return self._writing

    async def write(self, prompt: str, settings: Mapping[str, Any]) -> AsyncGenerator[str]:
        """The pieces of a text as they are made; to be closed by whoever takes no more of them.

        Raises:
            Refused: 429, too many are written; 504, a piece took too long; else what the stream raises.
        """
        if self._writing >= self._most:
            message = f"{self._writing} texts are written already; allowed: {self._most} (serve.max_queue)"
            raise Refused(429, f"{message}: ask again later", retry_after_s=1)
        self._writing += 1
        try:
            async with aclosing(self._stream(prompt, settings)) as pieces:
                while (piece := await self._next(pieces)) is not None:
                    yield piece
        finally:
            self._writing -= 1

    async def _next(self, pieces: AsyncGenerator[str]) -> str | None:
        try:
            async with asyncio.timeout(self._patience_s):
                return await anext(pieces, None)
        except TimeoutError as error:
            message = f"no further piece within {self._patience_s:g} s (serve.request_timeout)"
            raise Refused(504, message, retry_after_s=1) from error
