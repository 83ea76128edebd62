"""What fits a machine, and whose turn it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.launching.admission import (
    Capacity,
    Claim,
    gpu_devices,
    machine_memory,
    may_start,
    needed_gpus,
    queue_lock,
    visible_gpus,
)
from forgeline.spec.envelope import Resources
from forgeline.spec.units import Size


def resources(workers: int | str = 1, cpus: float = 1, gpus: float = 0, memory: str | None = None) -> Any:
    size = Size.parse(memory) if memory else None
    told = {"workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus, "memory_per_worker": size}
    return Resources.model_validate(told)


def claim(run_id: str, *, cpus: float = 1, priority: int = 0, submitted: float = 0, waiting: bool = True) -> Claim:
    return Claim(run_id=run_id, cpus=cpus, priority=priority, submitted=submitted, waiting=waiting)


def cpus(number: float) -> Capacity:
    return Capacity(cpus=number, gpus=0)


def test_what_fits_is_let_through() -> None:
    Capacity(cpus=2, gpus=0).check(resources(workers=4, cpus=0.5), [4])


@pytest.mark.parametrize(
    ("asked", "key", "said"),
    [
        (resources(workers=3), "resources.cpus_per_worker", "needs 3, this machine has 2 CPUs"),
        (resources(workers=2, cpus=1.5), "resources.cpus_per_worker", "needs 3, this machine has"),
        (resources(gpus=1), "resources.gpus_per_worker", "needs 1, this machine has 0 GPUs"),
        (resources(workers=2, memory="600MiB"), "resources.memory_per_worker", "this machine has 1.0 GiB"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_number_there_is(asked: Any, key: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        Capacity(cpus=2, gpus=0, memory=2**30).check(asked, asked.worker_counts)
    assert caught.value.key == key


def test_the_machine_has_some_memory() -> None:
    assert 2**28 < machine_memory() < 2**50


def test_gpus_are_counted_from_the_variable_that_hides_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert (visible_gpus(), gpu_devices()) == (2, ["0", "3"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == 0


def test_a_run_waits_while_the_cpus_are_held() -> None:
    running = claim("a", cpus=2, waiting=False)
    assert may_start("b", [running, claim("b")], cpus(2)) is None
    assert may_start("b", [running, claim("b")], cpus(3)) == []


def test_higher_priority_goes_first_then_earlier_submission() -> None:
    queue = [claim("late", submitted=2), claim("early", submitted=1), claim("urgent", submitted=3, priority=5)]
    assert may_start("urgent", queue, cpus(1)) == []
    assert may_start("early", queue, cpus(1)) is None
    assert may_start("early", queue[:2], cpus(1)) == []


def test_a_small_run_does_not_overtake_a_large_one() -> None:
    queue = [claim("running", waiting=False), claim("large", cpus=2, submitted=1), claim("small", submitted=2)]
    assert may_start("small", queue, cpus(2)) is None


def test_a_run_larger_than_the_machine_still_gets_its_turn_alone() -> None:
    assert may_start("a", [claim("a", cpus=8)], cpus(2)) == []
    assert may_start("a", [claim("a", cpus=8), claim("b", waiting=False)], cpus(2)) is None


@pytest.mark.parametrize(
    ("workers", "each", "needed"), [(1, 0, 0), (1, 0.5, 0.5), (2, 0.25, 0.5), (2, 1, 2), (4, 0.6, 4), (4, 0.5, 2)]
)
def test_how_many_gpus_a_run_holds(workers: int, each: float, needed: float) -> None:
    assert needed_gpus(resources(workers=workers, gpus=each)) == needed


@pytest.mark.parametrize(
    ("held", "needed", "given"),
    [
        ([], 1, ["2"]),
        ([(1, ["2"])], 1, ["3"]),
        ([(1, ["2"])], 2, None),
        ([(2, ["2", "3"])], 0, []),
        ([(0.5, ["3"])], 0.5, ["3"]),
        ([(0.5, ["3"])], 0.6, ["2"]),
        ([(0.5, ["2"]), (0.7, ["3"])], 1, None),
        # Held by a driver that was given other GPUs to choose from.
        ([(1, ["0"])], 2, ["2", "3"]),
    ],
)
def test_a_gpu_belongs_to_one_run(held: list[tuple[float, list[str]]], needed: float, given: list[str] | None) -> None:
    holding = [
        Claim(run_id=str(number), cpus=1, gpus=gpus, devices=devices, priority=0, submitted=0, waiting=False)
        for number, (gpus, devices) in enumerate(held)
    ]
    own = Claim(run_id="own", cpus=1, gpus=needed, priority=0, submitted=1, waiting=True)
    assert may_start("own", [*holding, own], cpus(16), ["2", "3"]) == given


def test_a_run_waits_while_the_memory_is_held() -> None:
    running = Claim(run_id="a", cpus=1, memory=600, priority=0, submitted=0, waiting=False)
    own = Claim(run_id="b", cpus=1, memory=500, priority=0, submitted=1, waiting=True)
    assert may_start("b", [running, own], Capacity(cpus=4, gpus=0, memory=1000)) is None
    assert may_start("b", [running, own], Capacity(cpus=4, gpus=0, memory=1100)) == []


def test_the_queue_lock_can_be_taken_again(tmp_path: Path) -> None:
    entered = 0
    for _ in range(2):
        with queue_lock(tmp_path):
            entered += 1
    assert entered == 2


def test_a_range_of_workers_takes_what_can_be_had_and_is_refused_below_its_fewest() -> None:
    wanted = resources(workers="2..4")
    counts = wanted.worker_counts
    assert [cpus(number).fitted(wanted, counts).workers for number in (1, 2, 3, 8)] == [2, 2, 3, 4]
    cpus(2).check(wanted, counts)
    with pytest.raises(SpecError, match=r"resources\.workers 2 with 1 CPUs each needs 2"):
        cpus(1).check(wanted, counts)


def test_of_a_range_only_what_the_job_can_have_is_taken_or_asked_for() -> None:
    assert cpus(3).fitted(resources(workers="2..4"), (2, 4)).workers == 2
    cpus(4).check(resources(workers="3..4"), (4,))
    with pytest.raises(SpecError, match=r"workers 4 \(the fewest of 3\.\.4 that the job can have\) .* needs 4,"):
        cpus(3).check(resources(workers="3..4"), (4,))
