"""Versions side by side: who is asked, and who is told what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from forgeline.bundle import Bundle
from forgeline_deploy.serving.front import Asked, Front
from forgeline_deploy.serving.intake import intake_of
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Answers, Batch, Samples
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.traffic import Answered, Choice

ASKED = Asked(request_id="a", key="a", arrival=0.0)


class Shadowed:
    """The first version answers, the second one only sees it; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def choose(self, key: str, now: float) -> Choice:
        return Choice(version="1", shadows=("2",))

    def answered(self, answer: Answered) -> None:
        self.told.append((answer.version, answer.status))


Call = Callable[[Batch], Coroutine[Any, Any, Answers]]


def front(bundle: Bundle, traffic: Shadowed, first: Call, second: Call) -> Front:
    config = ServeConfig.model_validate({"max_batch": 1, "max_queue": 1, "batch_wait": "1ms"})
    own = Front("model", config, traffic)
    intake = intake_of(bundle, most_samples=1, most_pixels=1)
    own.open("1", intake, first)
    own.open("2", intake, second)
    return own


async def at_once(batch: Batch) -> Answers:
    return Answers(columns={"prediction": ["x"] * len(batch)})


def test_a_shadow_that_answers_late_is_told_to_whom_it_was_asked_for(bundle: Bundle) -> None:
    async def scene() -> tuple[Shadowed, Shadowed]:
        go = asyncio.Event()

        async def slow(batch: Batch) -> Answers:
            await go.wait()
            return await at_once(batch)

        before, after = Shadowed(), Shadowed()
        own = front(bundle, before, at_once, slow)
        await own.predict(ASKED, own.choose(ASKED), Samples("rows", [{}]))
        own.traffic = after
        go.set()
        await own.drain()
        return before, after

    before, after = asyncio.run(scene())
    assert before.told == [("1", 200), ("2", 200)] and after.told == []


def test_what_the_version_that_answers_has_no_room_for_is_not_held_against_a_shadow(bundle: Bundle) -> None:
    async def scene() -> list[tuple[str, int]]:
        go = asyncio.Event()

        async def held(batch: Batch) -> Answers:
            await go.wait()
            return await at_once(batch)

        traffic = Shadowed()
        own = front(bundle, traffic, held, at_once)
        asked = []
        for _ in range(3):  # two batches ahead, and one sample that waits
            asked.append(asyncio.create_task(own.predict(ASKED, own.choose(ASKED), Samples("rows", [{}]))))
            await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="wait already"):
            await own.predict(ASKED, own.choose(ASKED), Samples("rows", [{}]))
        go.set()
        await asyncio.gather(*asked)
        await own.drain()
        return traffic.told

    told = asyncio.run(scene())
    assert sorted(told) == [("1", 200)] * 3 + [("1", 429)] + [("2", 200)] * 3
