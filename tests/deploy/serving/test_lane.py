"""The queue before the replicas: what goes together, what finds no room, and what happens when a replica dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from forgeline_deploy.serving.lane import AHEAD, Lane, ReplicaLost
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Answers, Batch, Samples, Ticket

TICKET = Ticket(request_id="a", arrival=0.0)


class Watch:
    """Remembers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.retries = 0

    def batch(self, version: str, samples: int, waited_s: float, answers: Answers) -> None:
        self.batches.append(samples)

    def retried(self, version: str) -> None:
        self.retries += 1


async def doubled(batch: Batch) -> Answers:
    return Answers(columns={"twice": [2 * value for piece in batch.pieces for value in piece.values]})


def lane(call: Callable[[Batch], Coroutine[Any, Any, Answers]] = doubled, **settings: Any) -> Lane:
    given: dict[str, Any] = {"max_batch": 4, "batch_wait_s": 0.02, "max_queue": 8, "patience_s": 5.0, "watch": Watch()}
    return Lane("1", call, **given | settings)


def samples(*values: int) -> Samples:
    return Samples("texts", list(values))


def test_everybody_gets_the_answer_to_their_own_samples() -> None:
    watch = Watch()
    own = lane(watch=watch)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(own.ask(samples(*range(n, n + 1 + n % 3)), TICKET) for n in range(4)))

    answers = asyncio.run(ask())
    assert answers == [{"twice": [2 * value for value in range(n, n + 1 + n % 3)]} for n in range(4)]
    assert watch.batches == [3, 4]  # 1 + 2, then 3 + 1: a request is not cut to fill a batch


def test_a_request_larger_than_a_batch_is_cut_and_put_together_again() -> None:
    watch = Watch()
    own = lane(watch=watch)
    assert asyncio.run(own.ask(samples(*range(8)), TICKET)) == {"twice": [2 * value for value in range(8)]}
    assert watch.batches == [4, 4]


def test_the_queue_has_an_exact_bound_whatever_the_replicas_have() -> None:
    async def scene() -> None:
        go = asyncio.Event()

        async def held(batch: Batch) -> Answers:
            await go.wait()
            return await doubled(batch)

        own = lane(held, batch_wait_s=0.0)
        asked = [asyncio.create_task(own.ask(samples(n), TICKET)) for n in range(AHEAD * 1)]
        await asyncio.sleep(0.01)
        assert (own.in_flight, own.waiting) == (AHEAD, 0)
        asked += [asyncio.create_task(own.ask(samples(n), TICKET)) for n in range(8)]
        await asyncio.sleep(0.01)
        assert own.waiting == 8
        with pytest.raises(Refused, match="8 samples wait already; allowed: 8") as caught:
            await own.ask(samples(1), TICKET)
        assert caught.value.status == 429 and int(caught.value.headers()["Retry-After"]) >= 1
        go.set()
        assert len(await asyncio.gather(*asked)) == AHEAD + 8

    asyncio.run(scene())


def test_a_request_that_can_never_fit_is_told_so() -> None:
    with pytest.raises(Refused, match="got 9 samples; allowed: 1 to 8") as caught:
        asyncio.run(lane().ask(samples(*range(9)), TICKET))
    assert caught.value.status == 422


def test_a_batch_whose_replica_dies_goes_to_another() -> None:
    deaths = iter([True, True, False])
    watch = Watch()

    async def mortal(batch: Batch) -> Answers:
        if next(deaths):
            raise ReplicaLost("killed")
        return await doubled(batch)

    assert asyncio.run(lane(mortal, watch=watch).ask(samples(5), TICKET)) == {"twice": [10]}
    assert watch.retries == 2


def test_samples_that_kill_every_replica_are_given_up() -> None:
    async def deadly(batch: Batch) -> Answers:
        raise ReplicaLost("killed")

    with pytest.raises(Refused, match="no replica of the model answers") as caught:
        asyncio.run(lane(deadly).ask(samples(5), TICKET))
    assert caught.value.status == 503


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    async def scene() -> list[int]:
        seen: list[int] = []

        async def slow(batch: Batch) -> Answers:
            seen.extend(value for piece in batch.pieces for value in piece.values)
            await asyncio.sleep(0.02)
            return await doubled(batch)

        own = lane(slow, batch_wait_s=0.0, max_batch=1)
        asked = [asyncio.create_task(own.ask(samples(n), TICKET)) for n in range(4)]
        await asyncio.sleep(0.005)
        asked[3].cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert own.waiting == 0
        return seen

    assert asyncio.run(scene()) == [0, 1, 2]


def test_one_piece_that_is_refused_or_fails_leaves_the_others_alone() -> None:
    async def choosy(batch: Batch) -> Answers:
        return Answers(columns={"twice": [0, 4]}, refused={1: "too odd"}, failed=frozenset({3}))

    async def scene() -> list[Any]:
        own = lane(choosy)
        return await asyncio.gather(*(own.ask(samples(n), TICKET) for n in range(4)), return_exceptions=True)

    first, odd, third, failed = asyncio.run(scene())
    assert (first, third) == ({"twice": [0]}, {"twice": [4]})
    assert (odd.status, odd.message, failed.status) == (422, "too odd", 500)


def test_a_closed_lane_answers_what_it_has_and_takes_no_more() -> None:
    async def scene() -> None:
        own = lane(batch_wait_s=60.0)
        asked = asyncio.create_task(own.ask(samples(3), TICKET))
        await asyncio.sleep(0)
        await asyncio.gather(own.close(), asked)
        assert asked.result() == {"twice": [6]}
        with pytest.raises(Refused, match="not served any more"):
            await own.ask(samples(1), TICKET)

    asyncio.run(scene())


def test_whoever_was_alone_the_last_time_is_not_held_for_company() -> None:
    async def scene() -> None:
        watch = Watch()
        own = lane(watch=watch, batch_wait_s=60.0)
        await own.ask(samples(1, 2, 3, 4), TICKET)  # a whole batch, which is not held

        alone = asyncio.create_task(own.ask(samples(2), TICKET))
        await asyncio.sleep(0)
        assert (own.waiting, own.in_flight) == (0, 1)
        others = [asyncio.create_task(own.ask(samples(n), TICKET)) for n in (3, 4)]
        await asyncio.sleep(0)
        assert own.waiting == 2  # somebody came while one was on its way: they are held, and go together
        others.append(asyncio.create_task(own.ask(samples(5, 6), TICKET)))  # which fills the batch
        await asyncio.gather(alone, *others)

        again = asyncio.create_task(own.ask(samples(7), TICKET))
        await asyncio.sleep(0)
        assert own.waiting == 1
        await own.close()  # in place of the wait
        assert await again == {"twice": [14]}
        assert watch.batches == [4, 1, 4, 1]

    asyncio.run(scene())
