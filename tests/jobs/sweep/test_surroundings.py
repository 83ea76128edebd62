"""What a sweep notices around it, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from forgeline.errors import RunFailed
from forgeline_jobs.sweep.surroundings import LOOK_EVERY_S, Surroundings


class Around:
    """Nodes, rank and time as a test sets them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.outranked = False
        self.nodes: list[Mapping[str, Any]] = [{"Alive": True}]
        self.looks = 0
        self.seen = Surroundings(lambda: self.outranked, nodes=self._nodes, clock=lambda: self.now)

    def _nodes(self) -> list[Mapping[str, Any]]:
        self.looks += 1
        return self.nodes

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


def test_one_node_of_several_may_die(around: Around) -> None:
    around.nodes = [{"Alive": False}, {"Alive": True}]
    assert around.later() is None


def test_without_any_node_the_sweep_fails_and_can_be_resumed(around: Around) -> None:
    around.nodes = [{"Alive": False}]
    with pytest.raises(RunFailed, match="resume it") as failure:
        around.later()
    assert failure.value.reason == "node_lost"
