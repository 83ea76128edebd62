"""A place in the queue of this host: what other runs hold as the ledger has it, and a ledger that stumbles."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import LedgerError, RunCancelled
from forgeline.launching.queueing import HostQueue
from forgeline.ledger.ledger import Ledger
from forgeline.settings import Settings
from forgeline.spec.envelope import Envelope, Resources


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def queue(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HostQueue]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    settings = Settings(home=tmp_path, local_cpus=4)
    return lambda **resources: HostQueue(
        ledger, settings, Envelope(kind="gone", name="own", resources=Resources(**resources))
    )


def new_run(ledger: Ledger, run_id: str, resources: str = "{}", **fields: Any) -> None:
    spec = f"kind: gone\nresources: {resources}\n"
    driver = {"driver_host": socket.gethostname(), "driver_pid": os.getpid()}
    ledger.create_run(id=run_id, name="digits", kind="gone", spec=spec, **(driver | fields))


def take(queue: HostQueue, run_id: str, told: list[str] | None = None) -> list[str]:
    """Its GPUs when its turn has come; it gives up where it would have to wait."""
    said = [] if told is None else told
    return list(queue.wait_for_turn(run_id, stop=lambda: bool(said), on_wait=said.append))


def test_runs_side_by_side_get_different_gpus(ledger: Ledger, queue: Any) -> None:
    one = queue(gpus_per_worker=1)
    for run_id, gpu in (("a", "4"), ("b", "5")):
        assert one.free_now() == [gpu]
        new_run(ledger, run_id, "{gpus_per_worker: 1}")
        assert take(one, run_id) == [gpu]
        assert ledger.get(run_id).gpus == [gpu]
    assert one.free_now() is None
    assert queue().free_now() == []
    new_run(ledger, "c", "{gpus_per_worker: 1}")
    told: list[str] = []
    with pytest.raises(RunCancelled):
        take(one, "c", told)
    assert told == ["queued: 2 of 4 CPUs and 2 of 2 GPUs are held by other runs, 0 more are waiting"]
    ledger.transition("a", "failed")
    assert take(one, "c") == ["4"]


def test_a_run_whose_specification_nobody_understands_is_in_nobodys_way(ledger: Ledger, queue: Any) -> None:
    for run_id, spec in (("broken", "{"), ("strange", "kind: gone\nresources: {workers: many}\n")):
        new_run(ledger, run_id)
        ledger.transition(run_id, "cancelled")
        ledger.resume(run_id, spec=spec, driver_host=socket.gethostname(), driver_pid=os.getpid())
        ledger.transition(run_id, "starting")
    new_run(ledger, "own", "{workers: 2}")
    assert take(queue(workers=2), "own") == []


def test_a_cluster_run_that_is_resumed_here_gets_its_turn(ledger: Ledger, queue: Any) -> None:
    new_run(ledger, "own", cluster="http://head:8265")
    ledger.transition("own", "cancelled")
    ledger.resume("own", driver_host=socket.gethostname(), driver_pid=os.getpid())
    assert take(queue(), "own") == []


def test_a_ledger_that_stumbles_costs_no_place(ledger: Ledger, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    new_run(ledger, "own")
    list_runs, failures = ledger.list_runs, ["locked", "locked", "locked"]

    def stumbling(**options: Any) -> Any:
        if failures:
            raise LedgerError(failures.pop())
        return list_runs(**options)

    monkeypatch.setattr(ledger, "list_runs", stumbling)
    assert queue().free_now() is None
    assert take(queue(), "own") == []
    assert ledger.get("own").state == "starting"


def test_a_range_of_workers_holds_as_many_as_this_host_can_hold(ledger: Ledger, queue: Any) -> None:
    """Of four CPUs a run of one to eight workers of one CPU holds all; of one to three it leaves one."""
    new_run(ledger, "a", "{workers: 1..8}")
    take(queue(workers=Resources.model_validate({"workers": "1..8"}).workers), "a")
    new_run(ledger, "b")
    told: list[str] = []
    with pytest.raises(RunCancelled):
        take(queue(), "b", told)
    assert told == ["queued: 4 of 4 CPUs are held by other runs, 0 more are waiting"]


def running(ledger: Ledger, run_id: str, resources: str, **fields: Any) -> None:
    new_run(ledger, run_id, resources, **fields)
    ledger.transition(run_id, "starting")


def test_a_run_is_outranked_by_one_that_could_start_in_its_place(ledger: Ledger, queue: Any) -> None:
    own = queue(workers=3)
    running(ledger, "own", "{workers: 3}")
    assert not own.is_outranked("own"), "nobody waits"
    new_run(ledger, "equal", "{workers: 2}")
    assert not own.is_outranked("own"), "it has the same priority"
    new_run(ledger, "high", "{workers: 2}", priority=5)
    assert own.is_outranked("own")
    ledger.transition("high", "cancelled")
    assert not own.is_outranked("own")
    new_run(ledger, "small", "{workers: 1}", priority=5)
    assert not own.is_outranked("own"), "there is room for it beside"


def test_a_place_that_would_not_help_is_kept(ledger: Ledger, queue: Any) -> None:
    own = queue(workers=1)
    running(ledger, "own", "{workers: 1}")
    running(ledger, "train", "{workers: 3}")
    new_run(ledger, "high", "{workers: 4}", priority=5)
    assert own.is_outranked("own"), "both are of the same kind, and leave"
    ledger.transition("train", "cancelled")
    ledger.create_run(
        id="other", name="o", kind="other", spec="kind: other\nresources: {workers: 3}\n",
        driver_host=socket.gethostname(), driver_pid=os.getpid(),
    )  # fmt: skip
    ledger.transition("other", "starting")
    assert not own.is_outranked("own"), "the other holds what it needs, and stays"


def test_a_gpu_that_is_waited_for_is_looked_for(ledger: Ledger, queue: Any) -> None:
    own = queue(gpus_per_worker=1, workers=2)
    running(ledger, "own", "{workers: 2, gpus_per_worker: 1}")
    ledger.transition("own", "running", gpus=["4", "5"])
    new_run(ledger, "high", "{gpus_per_worker: 1}", priority=1)
    assert own.is_outranked("own")


def test_a_ledger_that_is_away_outranks_nobody(ledger: Ledger, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**options: Any) -> Any:
        raise LedgerError("locked")

    running(ledger, "own", "{workers: 3}")
    new_run(ledger, "high", "{workers: 2}", priority=5)
    own = queue(workers=3)
    assert own.is_outranked("own")
    monkeypatch.setattr(ledger, "list_runs", away)
    assert not own.is_outranked("own")
