"""Texts that are written: how many at a time, how long a piece may take, and an end that reaches the source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.text_lane import TextLane


class Source:
    """Writes as many pieces as its prompt says, and then no more."""

    def __init__(self) -> None:
        self.open = 0

    async def write(self, prompt: str, settings: Mapping[str, Any]) -> AsyncGenerator[str]:
        self.open += 1
        try:
            for number in range(int(prompt)):
                yield str(number)
            if settings.get("stalls"):
                await asyncio.Event().wait()
        finally:
            self.open -= 1


def test_a_text_that_is_left_is_closed_at_its_source() -> None:
    async def scene() -> None:
        source = Source()
        own = TextLane(source.write, most=1, patience_s=5.0)
        async with aclosing(own.write("9", {})) as pieces:
            assert [await anext(pieces), await anext(pieces)] == ["0", "1"]
            assert (own.writing, source.open) == (1, 1)
            with pytest.raises(Refused, match=r"1 texts are written already; allowed: 1 \(serve.max_queue\)") as caught:
                await anext(own.write("9", {}))
            assert caught.value.status == 429
        assert (own.writing, source.open) == (0, 0)
        assert [piece async for piece in own.write("3", {})] == ["0", "1", "2"]

    asyncio.run(scene())


def test_a_piece_that_does_not_come_is_not_waited_for() -> None:
    async def scene() -> None:
        source = Source()
        own = TextLane(source.write, most=1, patience_s=0.01)
        pieces = own.write("1", {"stalls": True})
        assert await anext(pieces) == "0"
        with pytest.raises(Refused, match="serve.request_timeout") as caught:
            await anext(pieces)
        assert caught.value.status == 504 and (own.writing, source.open) == (0, 0)

    asyncio.run(scene())
