"""When an attempt hangs and who is to blame, on beats of two ranks and a clock that the tests move."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_jobs.train import hang
from forgeline_jobs.train.hang import SLOW_FACTOR, SLOWEST_S, HangWatch
from forgeline_jobs.train.heartbeat import Beat, Identity, Phase
from forgeline_jobs.train.strategies.arguments import PROCESS_GROUP_TIMEOUT

AFTER_S = 10.0


def beat(rank: int, batch: int, phase: Phase = Phase.BACKWARD, *, count: int = 2, fresh: bool = False) -> Beat:
    who = Identity(rank=rank, pid=rank, started_s=None, host="h", machine="m", node="n", oom_kills=None)
    return Beat(who=who, phase=phase, fresh=fresh, batch=batch, count=count, step=batch)


def ranks(*beats: Beat) -> Mapping[int, Beat]:
    return {one.who.rank: one for one in beats}


def blamed(watch: HangWatch, beats: Mapping[int, Beat], now: float) -> list[int]:
    return [one.beat.who.rank for one in watch.look(beats, now)]


def test_the_rank_that_the_others_wait_for_is_named_in_time() -> None:
    watch = HangWatch(AFTER_S)
    waiting = ranks(beat(0, 6, Phase.FORWARD), beat(1, 5, Phase.BACKWARD), beat(2, 6, Phase.FORWARD))
    assert blamed(watch, waiting, 0.0) == []
    assert blamed(watch, waiting, AFTER_S - 0.1) == []
    assert blamed(watch, waiting, AFTER_S) == [1]


def test_ranks_that_are_stuck_at_the_same_place_are_all_named() -> None:
    watch = HangWatch(AFTER_S)
    both = ranks(beat(0, 5), beat(1, 5))
    watch.look(both, 0.0)
    assert blamed(watch, both, AFTER_S) == [0, 1]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.MEASURING, Phase.SAVING, Phase.FINISHING, Phase.COMPILING])
def test_what_is_slow_by_nature_has_longer_and_so_have_those_who_wait_for_it(phase: Phase) -> None:
    watch = HangWatch(AFTER_S)
    saving = ranks(beat(0, 5, phase, count=7), beat(1, 6, Phase.BACKWARD))
    watch.look(saving, 0.0)
    assert blamed(watch, saving, 3 * AFTER_S) == []
    assert blamed(watch, saving, SLOW_FACTOR * AFTER_S) == [0]


def test_the_first_time_of_a_phase_may_compile() -> None:
    watch = HangWatch(AFTER_S)
    first = ranks(beat(0, 1, Phase.FORWARD, fresh=True))
    watch.look(first, 0.0)
    assert blamed(watch, first, 3 * AFTER_S) == []


def test_a_stopped_process_is_excused_by_no_phase() -> None:
    watch = HangWatch(AFTER_S, is_stopped=lambda one: one.who.rank == 1)
    saving = ranks(beat(0, 5, Phase.SAVING), beat(1, 5, Phase.SAVING))
    watch.look(saving, 0.0)
    assert blamed(watch, saving, AFTER_S) == [1]


def test_a_long_validation_that_gets_on_is_no_hang() -> None:
    watch = HangWatch(AFTER_S)
    for number in range(100):
        assert blamed(watch, ranks(beat(0, 5, Phase.VALIDATING, count=number)), 0.9 * AFTER_S * number) == []


def test_steps_that_are_always_slow_have_five_times_their_own_time() -> None:
    watch = HangWatch(AFTER_S)
    now = 0.0
    for batch in range(4):
        assert blamed(watch, ranks(beat(0, batch)), now) == []
        now += 0.8 * AFTER_S
    assert blamed(watch, ranks(beat(0, 3)), now + 2 * AFTER_S) == []
    assert blamed(watch, ranks(beat(0, 3)), now + 5 * AFTER_S) == [0]


def test_waiting_for_a_slow_rank_does_not_make_a_step_count_as_slow() -> None:
    watch = HangWatch(AFTER_S)
    watch.look(ranks(beat(0, 5, Phase.SAVING), beat(1, 6)), 0.0)
    watch.look(ranks(beat(0, 7), beat(1, 7)), 15 * AFTER_S)
    stuck = ranks(beat(0, 8), beat(1, 7))
    watch.look(stuck, 15 * AFTER_S + 1)
    assert blamed(watch, stuck, 16 * AFTER_S + 1) == [1]


def test_one_that_is_done_is_waited_for_by_nobody() -> None:
    watch = HangWatch(AFTER_S)
    done = ranks(beat(0, 5, Phase.DONE), beat(1, 5, Phase.DONE))
    watch.look(done, 0.0)
    assert blamed(watch, done, 1000 * AFTER_S) == []
    assert blamed(watch, {}, 2000 * AFTER_S) == []


def test_progress_is_that_of_the_rank_that_is_behind() -> None:
    watch = HangWatch(AFTER_S)
    watch.look(ranks(beat(0, 5), beat(1, 5)), 1.0)
    watch.look(ranks(beat(0, 6), beat(1, 5)), 2.0)
    watch.look(ranks(beat(0, 7), beat(1, 5)), 3.0)
    assert watch.progressed_at == 2.0
    watch.look(ranks(beat(0, 7), beat(1, 6)), 4.0)
    assert watch.progressed_at == 4.0


@pytest.mark.parametrize("after_s", [0.5, 45.0, 600.0, 1200.0])
def test_a_hang_is_told_before_the_collectives_give_up(after_s: float) -> None:
    watch = HangWatch(after_s)
    saving = ranks(beat(0, 5, Phase.SAVING))
    watch.look(saving, 0.0)
    assert blamed(watch, saving, SLOWEST_S) == [0]
    assert PROCESS_GROUP_TIMEOUT.total_seconds() - SLOWEST_S >= 60


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.01, 0.99)), min_size=1, max_size=60))
def test_ranks_that_keep_getting_on_are_never_named(moves: list[tuple[int, float]]) -> None:
    watch, now, at = HangWatch(AFTER_S), 0.0, [0, 0]
    for rank, share in moves:
        # One that is far ahead waits, as a collective makes it.
        mover = rank if at[rank] <= at[1 - rank] else 1 - rank
        at[mover] += 1
        now += share * AFTER_S
        assert watch.look(ranks(beat(0, at[0]), beat(1, at[1])), now) == []


def test_the_module_names_its_bounds() -> None:
    assert hang.SLOW_FACTOR * 45 < hang.SLOWEST_S
