"""A launch on this host that never becomes a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.launching.events import EventLog
from forgeline.launching.local import LocalLaunch
from forgeline.launching.request import EVENTS, Request


class Driver:
    """Stands for a driver's process."""

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
