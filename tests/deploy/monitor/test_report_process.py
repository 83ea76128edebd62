"""Which windows have a report made, in a process of its own, and what becomes of one that fails."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor import report_process as reports
from forgeline_deploy.monitor.report_process import Reports, with_news
from forgeline_deploy.monitor.spec import Reported
from tests.deploy.monitor.test_monitor import Watching


def command(number: int, output: Path) -> list[str]:
    """Writes the file, as `forgeline monitor report` does; of window 0 it cannot."""
    code = (
        f"import sys, pathlib; sys.exit('no room') if {number} == 0 else pathlib.Path({str(output)!r}).write_text('')"
    )
    return [sys.executable, "-I", "-c", code]


def made(watched: Watching, folder: Path, told: list[str], *, of: Reported = "alarms") -> list[str]:
    """Files of a life of the controller, once nothing is left to do."""
    life = Reports(of, folder=folder, command=command, tell=told.append)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        life.tick(watched.monitor.store.windows, time.time())
        if not life.busy:
            break
        time.sleep(0.01)
    life.close()
    return sorted(path.name for path in (folder / reports.FOLDER).glob("*.html"))


@pytest.fixture
def watched(journal: Journal, tmp_path: Path, reference: Reference) -> Watching:
    """Drift in the windows 0, 1, 2 and 12, of ten quiet ones between."""
    watching = Watching(journal, tmp_path / "windows", reference)
    for number in range(13):
        watching.window(number, shift=1.0 if number in (0, 1, 2, 12) else 0.0)
    return watching


def test_the_first_windows_of_an_alarm_are_reported_once(watched: Watching, tmp_path: Path) -> None:
    told: list[str] = []
    assert {0, 12} <= set(with_news(watched.monitor.store.windows))
    assert not {1, 2, *range(4, 12)} & set(with_news(watched.monitor.store.windows))
    assert "window-000012.html" in made(watched, tmp_path, told)
    [line] = told
    assert "the report on window 0 could not be made: no room" in line and "window-000000.failed.log" in line
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / reports.FOLDER).glob("*.html")}
    made(watched, tmp_path, told)
    assert len(told) == 1  # what failed is not tried again by the next controller either
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / reports.FOLDER).glob("*.html")}


def test_all_or_none_may_be_reported_and_few_wait(
    watched: Watching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    assert made(watched, tmp_path, told, of="none") == []
    monkeypatch.setattr(reports, "MOST_WAITING", 2)
    assert made(watched, tmp_path, told, of="all") == ["window-000011.html", "window-000012.html"]
    life = Reports("all", folder=tmp_path / "slow", command=command, tell=told.append)
    windows = watched.monitor.store.windows
    life.tick(windows[:1], 0.0)
    life.tick(windows, 0.0)
    life.close()
    assert told == ["10 reports are left out, the last of window 10: newer ones wait"]


def test_a_report_that_outlives_its_controller_is_waited_for_and_one_that_was_cut_is_made_again(
    watched: Watching, tmp_path: Path
) -> None:
    gate, folder = tmp_path / "gate", tmp_path / reports.FOLDER
    os.mkfifo(gate)
    begun = folder / "begun"

    def slow(number: int, output: Path) -> list[str]:
        code = f"open({str(begun)!r}, 'a').write('x'); open({str(gate)!r}).read()"
        return [sys.executable, "-I", "-c", code]

    windows = watched.monitor.store.windows[:1]
    first = Reports("all", folder=tmp_path, command=slow, tell=print)
    first.tick(windows, 0.0)
    until = time.monotonic() + 30
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.01)
    second = Reports("all", folder=tmp_path, command=slow, tell=print)
    for _ in range(3):
        second.tick(windows, 0.0)
    assert second.busy and begun.read_text() == "x"  # the lock is held by the process, not by who started it
    first.close()
    second.tick(windows, 0.0)
    while begun.read_text() != "xx" and time.monotonic() < until:
        time.sleep(0.01)
    assert begun.read_text() == "xx"
    second.close()
