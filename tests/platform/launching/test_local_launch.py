"""A launch on this host that never becomes a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.cli.progress import PlainDisplay
from forgeline.launching.events import EventLog
from forgeline.launching.local import LocalLaunch
from forgeline.launching.request import EVENTS, Request


class Driver:
    """Stands for a driver's process."""

    pid = -1  # which leads no session

    def __init__(self, refusal: str | None) -> None:
        self._refusal = refusal

    def begin(self, request: Request) -> None:
        if self._refusal:
            log = EventLog(Path(str(request.staging), EVENTS))
            log.emit("error", message=self._refusal, exit_code=2)

    def alive(self) -> bool:
        return self._refusal is not None

    def last_words(self) -> str:
        return "no memory"


@pytest.mark.parametrize(
    ("refusal", "said"), [("no such store", "no such store"), (None, "ended before the run began: no memory")]
)
def test_it_leaves_nothing_behind(refusal: str | None, said: str, tmp_path: Path) -> None:
    settings = SimpleNamespace(home_folder=tmp_path)
    launch = LocalLaunch(cast(Any, Driver(refusal)), spec="kind: toy\n", settings=cast(Any, settings), resume=None)
    [event] = launch.events()
    assert event["event"] == "error" and said in event["message"]
    assert list((tmp_path / "launching").iterdir()) == []


def test_it_is_followed_though_the_driver_moves_its_events_first(tmp_path: Path) -> None:
    class Mover(Driver):
        def begin(self, request: Request) -> None:
            log = EventLog(Path(str(request.staging), EVENTS))
            log.emit("run", run_id="1")
            log.move(tmp_path / "moved.jsonl")
            log.emit("state", state="succeeded")

    settings = SimpleNamespace(home_folder=tmp_path)
    launch = LocalLaunch(cast(Any, Mover(None)), spec="kind: toy\n", settings=cast(Any, settings), resume=None)
    assert [event["event"] for event in launch.events()] == ["run", "state"]


def test_a_stop_before_there_is_a_run_is_a_cancelled_one(tmp_path: Path) -> None:
    class Stopped(Driver):
        def interrupt(self) -> None:
            pass

    settings = SimpleNamespace(home_folder=tmp_path)
    launch = LocalLaunch(cast(Any, Stopped(None)), spec="kind: toy\n", settings=cast(Any, settings), resume=None)
    launch.interrupt()
    [event] = launch.events()
    assert (event["message"], event["exit_code"]) == ("cancelled before the run began", 103)
    lines = list[str]()
    PlainDisplay(lines.append).show(event)
    assert lines == [], "what ends a launch is told as an error"
