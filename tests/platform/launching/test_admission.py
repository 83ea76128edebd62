"""What fits a machine, and whose turn it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.launching.admission import Capacity, Claim, machine_memory, may_start, queue_lock, visible_gpus
from forgeline.spec.units import Size


def resources(workers: int = 1, cpus: float = 1, gpus: float = 0, memory: str | None = None) -> Any:
    size = Size.parse(memory) if memory else None
    return SimpleNamespace(workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus, memory_per_worker=size)


def claim(run_id: str, *, cpus: float = 1, priority: int = 0, submitted: float = 0, waiting: bool = True) -> Claim:
    return Claim(run_id=run_id, cpus=cpus, priority=priority, submitted=submitted, waiting=waiting)


def test_what_fits_is_let_through() -> None:
    Capacity(cpus=2, gpus=0).check(resources(workers=4, cpus=0.5))


@pytest.mark.parametrize(
    ("asked", "key", "said"),
    [
        (resources(workers=3), "resources.cpus_per_worker", "need 3 CPUs, this machine has 2"),
        (resources(workers=2, cpus=1.5), "resources.cpus_per_worker", "need 3 CPUs"),
        (resources(gpus=1), "resources.gpus_per_worker", "need 1 GPUs, this machine has 0"),
        (resources(workers=2, memory="600MiB"), "resources.memory_per_worker", "this machine has 1.0 GiB"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_number_there_is(asked: Any, key: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        Capacity(cpus=2, gpus=0, memory=2**30).check(asked)
    assert caught.value.key == key


def test_the_machine_has_some_memory() -> None:
    assert 2**28 < machine_memory() < 2**50


def test_gpus_are_counted_from_the_variable_that_hides_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert visible_gpus() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == 0


def test_a_run_waits_while_the_cpus_are_held() -> None:
    running = claim("a", cpus=2, waiting=False)
    assert not may_start("b", [running, claim("b")], capacity=2)
    assert may_start("b", [running, claim("b")], capacity=3)


def test_higher_priority_goes_first_then_earlier_submission() -> None:
    queue = [claim("late", submitted=2), claim("early", submitted=1), claim("urgent", submitted=3, priority=5)]
    assert may_start("urgent", queue, capacity=1)
    assert not may_start("early", queue, capacity=1)
    assert may_start("early", queue[:2], capacity=1)


def test_a_small_run_does_not_overtake_a_large_one() -> None:
    queue = [claim("running", waiting=False), claim("large", cpus=2, submitted=1), claim("small", submitted=2)]
    assert not may_start("small", queue, capacity=2)


def test_a_run_larger_than_the_machine_still_gets_its_turn_alone() -> None:
    assert may_start("a", [claim("a", cpus=8)], capacity=2)
    assert not may_start("a", [claim("a", cpus=8), claim("b", waiting=False)], capacity=2)


def test_the_queue_lock_can_be_taken_again(tmp_path: Path) -> None:
    entered = 0
    for _ in range(2):
        with queue_lock(tmp_path):
            entered += 1
    assert entered == 2
