"""When a run is asked to grow, and how many workers it gets, whatever room Ray tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import RunCancelled
from forgeline.spec.envelope import Resources
from forgeline_jobs.train import elasticity
from forgeline_jobs.train.elasticity import Growth, wait_for_room
from forgeline_jobs.train.heartbeat import Heart, Identity
from forgeline_jobs.train.places import rooms

RESOURCES = Resources()
OFFERS = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.fixed_dictionaries({"CPU": st.floats(0, 64)}))


@given(offered=OFFERS, cpus=st.floats(0.25, 8))
def test_a_node_has_room_for_what_fits_it_and_for_no_more(
    offered: Mapping[str, Mapping[str, float]], cpus: float
) -> None:
    found = rooms(offered, {"CPU": cpus})
    for node, has in offered.items():
        workers = found.get(node, 0)
        assert workers * cpus <= has["CPU"] + 1e-6 < (workers + 1) * cpus + 2e-6


@pytest.fixture
def hearts(tmp_path: Path) -> list[Heart]:
    """Two workers that have begun."""
    return [Heart(tmp_path / f"heartbeat-{rank}", Identity.own(rank)) for rank in (0, 1)]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the room that Ray tells of."""
    return lambda workers: monkeypatch.setattr(elasticity, "room", lambda resources, asks_nodes: workers)


def growth(folder: Path, asked: list[str], *, counts: tuple[int, ...] = (1, 2, 4, 8)) -> Growth:
    ask = lambda: asked.append("asked")  # noqa: E731
    return Growth(folder, resources=RESOURCES, now=2, counts=counts, after_s=15, ask=ask)


def test_it_grows_once_there_has_been_room_for_a_while(
    tmp_path: Path, hearts: list[Heart], offer: Callable[[int], None]
) -> None:
    asked: list[str] = []
    watch = growth(tmp_path, asked)
    offer(3)
    watch.look(0)
    watch.look(100)
    assert not asked  # nobody trains yet
    for heart in hearts:
        heart.begin_batch(2, 1)
    for now in (100, 114):
        watch.look(now)
    offer(1)
    watch.look(114.5)  # three workers share no batch: there is room for two still
    offer(6)
    watch.look(115)
    watch.look(129)
    assert not asked and watch.asked_for is None
    watch.look(130)
    assert asked and watch.asked_for == 8


@pytest.mark.parametrize("counts", [(1, 2), (2,), ()])
def test_it_does_not_grow_beyond_its_range(
    tmp_path: Path, hearts: list[Heart], offer: Callable[[int], None], counts: tuple[int, ...]
) -> None:
    asked: list[str] = []
    watch = growth(tmp_path, asked, counts=counts)
    for heart in hearts:
        heart.begin_batch(2, 1)
    offer(100)
    watch.look(0)
    watch.look(1000)
    assert not asked


def test_as_many_as_fit_are_taken_and_fewer_than_the_least_are_waited_for(offer: Callable[[int], None]) -> None:
    told: list[str] = []

    def place() -> int:
        return wait_for_room(RESOURCES, (2, 4), settles=False, stopped=lambda: bool(told), say=told.append)

    offer(5)
    assert place() == 4
    offer(3)
    assert place() == 2
    offer(1)
    with pytest.raises(RunCancelled):
        place()
    assert told == ["waiting for room for 2 workers; there is room for 1"]
