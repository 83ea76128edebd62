"""A run's series in the store: every point once and in order, whatever is killed, refused or damaged in between."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline.errors import TrackingError
from forgeline.launching import backlog
from forgeline.launching.replay import replay
from forgeline.launching.series import Series
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Point, Tracker


class Store:
    """What MLflow does with points: equal ones are kept once, nothing is taken back, a batch is there or not.

    Args:
        mishaps: for each call what befalls it: nothing, refused before it, or not answered after it.
    """

    def __init__(self, mishaps: Sequence[str] = ()) -> None:
        self.points: dict[Point, None] = {}
        self.mishaps = list(mishaps)
        self.status = "RUNNING"

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        mishap = self.mishaps.pop(0) if self.mishaps else ""
        if mishap == "refused":
            raise TrackingError("500")
        # The tracker sends long lists in batches.
        half = len(points) // 2 if mishap == "half" else len(points)
        self.points |= dict.fromkeys(points[:half])
        if mishap:
            raise TrackingError("no answer")

    def last_steps(self, run_id: str) -> dict[str, int]:
        steps: dict[str, int] = {}
        for point in self.points:
            steps[point.key] = max(point.step, steps.get(point.key, -1))
        return steps

    def series(self, key: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.points if point.key == key]

    def get(self, run_id: str) -> Any:
        return SimpleNamespace(status=self.status, params={"kind": "toy"}, tags={})

    def finish(self, run_id: str, state: str, *, reason: str | None = None) -> None:
        self.status = state


def series_of(store: Store, folder: Path) -> Series:
    return Series(cast(Any, store), "r", folder)


def spool(folder: Path, attempt: int) -> Path:
    return folder / "attempts" / str(attempt) / "spool-0.jsonl"


def record(run_id: str = "r") -> Any:
    return SimpleNamespace(id=run_id, state="succeeded", is_final=True, reason=None, spec="kind: toy")


def test_a_step_is_live_until_a_checkpoint_covers_it(tmp_path: Path) -> None:
    store = Store()
    series = series_of(store, tmp_path)
    series.begin(spool(tmp_path, 1), first_step=0)
    with Spool(spool(tmp_path, 1)) as writer:
        writer.metrics(1, {"loss": 0.1})
        writer.metrics(2, {"loss": 0.2})
        series.deliver()
        assert (store.series("loss"), store.series("live/loss")) == ([], [(1, 0.1), (2, 0.2)])
        # Written while training went on: what came meanwhile is not covered.
        writer.metrics(3, {"loss": 0.3})
        writer.event("checkpoint", step=2, path="step-2")
        series.deliver()
    assert store.series("loss") == [(1, 0.1), (2, 0.2)]
    assert store.series("live/loss") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    series.finish(well=False)
    assert series.deliver() and series.left() == 0
    assert store.series("loss") == [(1, 0.1), (2, 0.2)]
    assert replay(cast(Any, store), record, tmp_path).sent == 1
    assert store.series("loss") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_what_is_safe_when_it_is_sent_is_not_sent_twice(tmp_path: Path) -> None:
    store = Store()
    with Spool(spool(tmp_path, 1)) as writer:
        for step in range(1, 9):
            writer.metrics(step, {"loss": float(step)})
        writer.event("checkpoint", step=6, path="step-6")
    series = series_of(store, tmp_path)
    series.deliver()
    assert [step for step, _ in store.series("loss")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in store.series("live/loss")] == [7, 8]


def test_a_step_that_is_done_again_counts_as_it_was_done_last(tmp_path: Path) -> None:
    store = Store()
    series = series_of(store, tmp_path)
    series.begin(spool(tmp_path, 1), first_step=0)
    with Spool(spool(tmp_path, 1)) as writer:
        for step in (1, 2, 3):
            writer.metrics(step, {"loss": 0.1})
        # The checkpoint of step 2 was sealed, and the worker killed before it could tell.
    series.deliver()
    series.begin(spool(tmp_path, 2), first_step=2)
    with Spool(spool(tmp_path, 2)) as writer:
        for step in (2, 3, 4):
            writer.metrics(step, {"loss": 0.2})
    series.finish(well=True)
    series.deliver()
    assert store.series("loss") == [(1, 0.1), (2, 0.1), (3, 0.2), (4, 0.2)]


def test_a_checkpoint_that_was_lost_again_leaves_each_step_once(tmp_path: Path) -> None:
    store = Store()
    series = series_of(store, tmp_path)
    series.begin(spool(tmp_path, 1), first_step=0)
    with Spool(spool(tmp_path, 1)) as writer:
        for step in (1, 2, 3, 4):
            writer.metrics(step, {"loss": 0.1})
        writer.event("checkpoint", step=3, path="step-3")
    series.deliver()
    # It was damaged: training goes on from the one before.
    series.begin(spool(tmp_path, 2), first_step=1)
    with Spool(spool(tmp_path, 2)) as writer:
        for step in (2, 3, 4):
            writer.metrics(step, {"loss": 0.2})
    series.finish(well=True)
    series.deliver()
    assert store.series("loss") == [(1, 0.1), (2, 0.1), (3, 0.1), (4, 0.2)]


def test_attempts_are_delivered_by_number_not_by_name(tmp_path: Path) -> None:
    store = Store()
    for attempt in range(1, 12):
        with Spool(spool(tmp_path, attempt)) as writer:
            writer.metrics(attempt, {"loss": float(attempt)})
            writer.event("checkpoint", step=attempt, path=f"step-{attempt}")
    series_of(store, tmp_path).deliver()
    assert [step for step, _ in store.series("loss")] == list(range(1, 12))


def test_a_run_that_an_older_forgeline_began_goes_on(tmp_path: Path) -> None:
    store, old = Store(), spool(tmp_path, 1)
    old.parent.mkdir(parents=True)
    lines = [json.dumps({"kind": "metrics", "step": step, "time": step, "values": {"loss": 0.1}}) for step in (1, 2, 3)]
    old.write_text("\n".join(lines) + "\n")
    # It sent all steps to the own keys, up to this byte.
    old.with_suffix(".delivered").write_text(str(len(lines[0]) + len(lines[1]) + 2))
    store.log_points("r", [Point(key="loss", value=0.1, step=step, time_ms=step) for step in (1, 2)])
    series = series_of(store, tmp_path)
    series.begin(spool(tmp_path, 2), first_step=1)
    with Spool(spool(tmp_path, 2)) as writer:
        for step in (2, 3, 4):
            writer.metrics(step, {"loss": 0.2})
    series.finish(well=True)
    series.deliver()
    assert store.series("loss") == [(1, 0.1), (2, 0.1), (3, 0.2), (4, 0.2)]


def test_what_is_left_is_counted_and_damage_is_told(tmp_path: Path) -> None:
    store = Store(["refused"])
    with Spool(spool(tmp_path, 1)) as writer:
        for step in range(1, 6):
            writer.metrics(step, {"loss": 0.5, "rate": 0.1})
    content = spool(tmp_path, 1).read_bytes()
    spool(tmp_path, 1).write_bytes(content.replace(b'"step":3', b'"step":4') + b'{"kind":"met')
    done = replay(cast(Any, store), record, tmp_path)
    assert (done.sent, done.left, done.damaged, done.error) == (0, 8, 2, "500")
    done = replay(cast(Any, store), record, tmp_path)
    assert (done.sent, done.left, done.damaged, done.error) == (8, 0, 2, None)
    assert store.status == "succeeded"
    assert replay(cast(Any, store), record, tmp_path).sent == 0


mishaps = st.lists(st.sampled_from(["", "", "refused", "half", "unanswered"]), max_size=12)


class Run:
    """A run that trains, is killed and goes on, beside a delivery that fails and is killed."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.step, self.saved, self.attempt = 0, 0, 0
        self.truth: dict[int, float] = {}
        self.series = series_of(store, folder)
        self.begin()

    def begin(self) -> None:
        self.attempt += 1
        self.step = self.saved
        self.series.begin(spool(self.folder, self.attempt), first_step=self.saved)
        self.writer = Spool(spool(self.folder, self.attempt))

    def train(self) -> None:
        self.step += 1
        self.truth[self.step] = self.attempt + self.step / 1000
        self.writer.metrics(self.step, {"loss": self.truth[self.step], "rate": self.truth[self.step]})

    def save(self, *, told: bool = True) -> None:
        self.saved = self.step
        if told:
            self.writer.event("checkpoint", step=self.step, path="step")

    def deliver(self) -> None:
        try:
            self.series.deliver()
        except TrackingError:
            pass

    def lose_the_driver(self) -> None:
        self.series = series_of(self.store, self.folder)
        self.begin()


actions = st.lists(
    st.sampled_from(["train"] * 6 + ["save", "save untold", "deliver", "deliver", "kill worker", "kill driver"]),
    max_size=60,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=actions, befalls=mishaps, chunk=st.sampled_from([1, 300, 2**17]))
def test_every_step_is_there_once_in_order_as_it_was_done_last(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str], befalls: list[str], chunk: int
) -> None:
    store = Store(befalls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog, "CHUNK_BYTES", chunk)
        run = Run(tmp_path_factory.mktemp("run"), store)
        doing = {
            "train": run.train,
            "save": run.save,
            "save untold": lambda: run.save(told=False),
            "deliver": run.deliver,
            "kill worker": run.begin,
            "kill driver": run.lose_the_driver,
        }
        for act in acts:
            doing[act]()
            assert_only_safe_steps(store.series("loss"), run.truth, run.saved)
        run.series.finish(well=True)
        while run.series.left():
            run.deliver()
        done = [(step, run.truth[step]) for step in range(1, run.step + 1)]
        assert store.series("loss") == store.series("rate") == done


def assert_only_safe_steps(series: list[tuple[int, float]], truth: Mapping[int, float], saved: int) -> None:
    assert all(step <= saved for step, _ in series)
    assert all(value == truth[step] for step, value in series)


DELIVER = """
import sys
from pathlib import Path
from forgeline.launching import backlog
from forgeline.launching.series import Series
from forgeline.tracking.tracker import Tracker
backlog.CHUNK_BYTES = 4000
series = Series(Tracker(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
print("ready", flush=True)
series.finish(well=True)
series.deliver()
"""


def test_a_process_that_is_killed_while_it_delivers_costs_no_point(tmp_path: Path, home: Path) -> None:
    """A real store, and real kills between sending and noting what was sent."""
    uri = f"sqlite:///{home / 'mlflow.db'}"
    tracker = Tracker(uri)
    run_id = tracker.create_run("killed", "killed")
    keys = [f"train/{name}" for name in ("loss", "rate", "norm")]
    with Spool(spool(tmp_path, 1)) as writer:
        for step in range(1, 3001):
            writer.metrics(step, {key: math.sin(step) for key in keys})
    chance = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", DELIVER, uri, run_id, tmp_path], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        try:
            process.wait(1.5 + chance.random())
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = replay(tracker, lambda: record(run_id), tmp_path)
    assert (done.left, done.error, done.damaged) == (0, None, 0)
    for key in keys:
        history = tracker.metric_history(run_id, key)
        assert [(point.step, point.value) for point in history] == [(step, math.sin(step)) for step in range(1, 3001)]
    assert tracker.get(run_id).status == "FINISHED"
