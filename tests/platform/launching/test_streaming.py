"""What the driver makes of the workers' spool files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.launching import backlog, delivery
from forgeline.launching.events import EventLog, EventReader
from forgeline.launching.streaming import SpoolStream
from forgeline.tracking.spool import Spool


def taking(send: Callable[[Any], object]) -> Any:
    """A tracking store that has nothing yet, and gives away what it gets."""
    return SimpleNamespace(last_steps=lambda run_id: {}, log_points=lambda run_id, points: send(points))


def test_the_summary_is_how_good_the_model_is_and_everything_is_shipped(tmp_path: Path) -> None:
    shipped: list[Any] = []
    told: list[dict[str, float]] = []
    stream = SpoolStream(
        tracker=taking(shipped.extend),
        run_id="r",
        folder=tmp_path,
        events=cast(Any, None),
        on_metrics=lambda new: told.append(dict(new)),
    )
    path = tmp_path / "attempts" / "1" / "spool-0.jsonl"
    stream.watch(path)
    spool = Spool(path)
    spool.metrics(1, {"train/loss": 2.0, "train/lr": 0.1, "system/cpu_percent": 50.0, "val/accuracy": 0.5})
    spool.close()
    until = time.monotonic() + 5
    while not told and time.monotonic() < until:
        time.sleep(0.02)
    assert stream.close(within_s=5, well=True) is None
    assert told == [{"train/loss": 2.0, "val/accuracy": 0.5}] == [stream.last_metrics]
    assert {point.key for point in shipped} == {"train/loss", "train/lr", "system/cpu_percent", "val/accuracy"}


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_store_that_hangs_holds_up_no_progress_and_its_points_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SHIP_EVERY_S", 0.01)
    asked, free = threading.Event(), threading.Event()

    def hang(points: Any) -> None:
        asked.set()
        free.wait()
        raise OSError("gone")

    events = EventLog(tmp_path / "events.jsonl")
    stream = SpoolStream(tracker=taking(hang), run_id="r", folder=tmp_path, events=events)
    path = tmp_path / "attempts" / "1" / "spool-0.jsonl"
    path.parent.mkdir(parents=True)
    stream.watch(path)
    with Spool(path) as spool:
        spool.metrics(1, {"train/loss": 2.0})
        assert asked.wait(5)
        spool.metrics(2, {"train/loss": 1.0})
        spool.event("step", step=2)
        reader = EventReader(tmp_path / "events.jsonl")
        wait_until(lambda: [event["step"] for event in reader.read_new()] == [2])
        said = stream.close(within_s=0.1, well=True)
    assert said is not None and said.startswith("2 metric points did not reach the tracking store")
    assert "`forgeline runs sync r` sends them" in said
    assert stream.last_metrics == {"train/loss": 1.0}
    free.set()

    shipped: list[Any] = []
    for _ in range(2):
        later = SpoolStream(tracker=taking(shipped.extend), run_id="r", folder=tmp_path, events=events)
        assert later.close(within_s=5, well=True) is None
        assert [point.step for point in shipped] == [1, 2]


def test_a_disk_that_fails_for_a_moment_is_told_and_ends_nothing(tmp_path: Path) -> None:
    told: list[int] = []

    def emit(event: str, **fields: Any) -> None:
        if fields["step"] == 1:
            raise OSError(28, "No space left on device")
        told.append(fields["step"])

    events = cast(Any, SimpleNamespace(emit=emit))
    stream = SpoolStream(tracker=taking(len), run_id="r", folder=tmp_path, events=events)
    stream.watch(tmp_path / "spool-0.jsonl")
    with Spool(tmp_path / "spool-0.jsonl") as spool:
        for step in (1, 2):
            spool.event("step", step=step)
    said = stream.close(within_s=5, well=True)
    assert told == [2]
    assert said is not None and "No space left on device" in said


def test_a_large_backlog_is_delivered_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "CHUNK_BYTES", 200)
    pieces: list[int] = []
    with Spool(tmp_path / "spool-0.jsonl") as spool:
        for step in range(50):
            spool.metrics(step, {"train/loss": 1.0, "train/lr": 0.1})
    tracker = taking(lambda points: pieces.append(len(points)))
    stream = SpoolStream(tracker=tracker, run_id="r", folder=tmp_path, events=cast(Any, None))
    stream.watch(tmp_path / "spool-0.jsonl")
    assert stream.close(within_s=5, well=True) is None
    assert sum(pieces) == 100
    assert max(pieces) <= 6
