"""What a sweep notices around it, with a clock of the test's own."""

from __future__ import annotations

import pytest

from forgeline_jobs.sweep.surroundings import LOOK_EVERY_S, Surroundings


class Around:
    """Rank and time as a test sets them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.outranked = False
        self.looks = 0
        self.seen = Surroundings(self._outranked, clock=lambda: self.now)

    def _outranked(self) -> bool:
        self.looks += 1
        return self.outranked

    def later(self) -> str | None:
        self.now += LOOK_EVERY_S
        return self.seen.look()


@pytest.fixture
def around() -> Around:
    return Around()


def test_it_looks_once_in_a_while(around: Around) -> None:
    assert [around.seen.look() for _ in range(5)] == [None] * 5
    assert around.looks == 0
    assert around.later() is None
    around.seen.look()
    assert around.looks == 1


def test_a_run_that_goes_first_stops_all_trials(around: Around) -> None:
    assert around.later() is None
    assert not around.seen.gives_way
    around.outranked = True
    assert around.later() == "a run of higher priority waits for this place"
    assert around.seen.gives_way
