"""How many workers a run gets, whatever room Ray tells of, and when it is asked to grow."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forgeline as fl
from forgeline.errors import RunCancelled, SpecError
from forgeline.launching.queueing import HostQueue
from forgeline.ledger.ledger import Ledger
from forgeline.settings import Settings
from forgeline.spec.envelope import Resources
from forgeline.spec.loading import load
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


def growth(folder: Path, asked: list[str], *, counts: tuple[int, ...] = (1, 2, 4, 8), first_step: int = 0) -> Growth:
    ask = lambda: asked.append("asked")  # noqa: E731
    return Growth(folder, resources=RESOURCES, now=2, counts=counts, first_step=first_step, after_s=15, ask=ask)


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


def test_an_attempt_that_goes_on_takes_a_step_before_it_grows(
    tmp_path: Path, hearts: list[Heart], offer: Callable[[int], None]
) -> None:
    """From step 450 on, with a share of a batch in four pieces: their numbers go on from the checkpoint's as well."""
    asked: list[str] = []
    watch = growth(tmp_path, asked, first_step=450)
    offer(8)
    for piece in range(4):
        for heart in hearts:
            heart.begin_batch(1800 + piece, 450)
        watch.look(100 * piece)
    hearts[0].begin_batch(1804, 451)
    watch.look(500)
    watch.look(600)
    assert not asked  # the other worker has not taken the step yet
    hearts[1].begin_batch(1804, 451)
    watch.look(700)
    watch.look(715)
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


WINE: Mapping[str, object] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp"},
    "data": {"name": "wine", "batch_size": 16},
}


def test_a_machine_that_holds_no_number_that_shares_a_batch_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three and four workers only four do, and would be waited for without end."""
    monkeypatch.setenv("FORGELINE_LOCAL_CPUS", "3")
    with pytest.raises(SpecError, match=r"workers 4 \(the fewest of 3\.\.4 that the job can have\) .* needs 4,"):
        fl.run(load(WINE, set={"resources.workers": "3..4"}))
    assert not list(home.iterdir())


@pytest.mark.parametrize(("workers", "size", "held"), [("2..4", 16, 2), ("1..3", 16, 2), ("1..3", 15, 3), (1, 16, 1)])
def test_a_run_holds_what_it_can_use_of_a_machine_and_others_have_the_rest(
    tmp_path: Path, workers: int | str, size: int, held: int
) -> None:
    """On three CPUs; three workers do not share a batch of 16 evenly, but one of 15."""
    spec = load(WINE, set={"resources.workers": workers, "data.batch_size": size})
    ledger, settings = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}"), Settings(home=tmp_path, local_cpus=3)
    ledger.create_run(
        id="a", name="wine", kind="train", spec=spec.text, driver_host=socket.gethostname(), driver_pid=os.getpid()
    )
    queue = HostQueue(ledger, settings, spec.spec)
    assert queue.workers == held
    assert list(queue.wait_for_turn("a", stop=lambda: False, on_wait=pytest.fail)) == []
    other = HostQueue(ledger, settings, load(WINE).spec)
    assert other.free_now() == ([] if held < 3 else None)
    ledger.close()
