"""Which alerts stand after windows and labels, as the monitor found them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.alerts.book import AlertBook
from forgeline_deploy.alerts.spec import LogConfig
from forgeline_deploy.control.alarms import QUIET_LABELS, QUIET_WINDOWS, Alarms, acted
from forgeline_deploy.monitor import Decision, Finding, StoredWindow, Stream
from forgeline_deploy.monitor.labels import LabelFile
from forgeline_deploy.monitor.pane import PaneKey
from forgeline_deploy.monitor.performance import Labelled
from forgeline_deploy.monitor.window_file import SealedFile

FILE = SealedFile(name="x", sha256="y")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AlertBook]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    run = ledger.create_run(id="r", name="wine", kind="deployment", spec="")
    yield AlertBook(Journal(ledger, run), [LogConfig(log=True)])
    ledger.close()


@pytest.fixture
def alarms(book: AlertBook) -> Alarms:
    return Alarms(book, deployment="wine", run_id="r", model="wine")


def finding(about: Any, *, version: str = "1", subject: str = "age") -> Finding:
    severity: Any = "ticket" if about in ("drift", "estimate") else "page"
    return Finding(severity=severity, about=about, stream=f"champion {version}", subject=subject, text="it moved")


def window(number: int, *findings: Finding, judged: int = 100, requests: int = 100) -> StoredWindow:
    return StoredWindow(
        number=number,
        key=PaneKey(float(number)),
        end=number + 1.0,
        closed=number + 2.0,
        rows=requests,
        requests=requests,
        included={},
        remarks=(),
        decision=Decision(judged_rows=judged, findings=findings),
        file=FILE,
        answers=None,
    )


def labels(number: int, *findings: Finding, rows: int = 100) -> LabelFile:
    return LabelFile(
        source="labels",
        taken=float(number),
        sha256=str(number),
        rows=rows,
        unknown=0,
        duplicates=0,
        empty=0,
        labelled={0: {Stream("champion", "1"): Labelled(rows=rows, correct=0)}},
        findings=findings,
        joined=FILE,
    )


def standing(book: AlertBook) -> list[str]:
    return [one.alert.kind for one in book.open]


def test_drift_stands_until_enough_judged_windows_are_quiet(alarms: Alarms, book: AlertBook) -> None:
    windows = [window(0, finding("drift"))]
    alarms.of_windows(windows, first=0, version="1", now=1.0)
    assert standing(book) == ["drift"]
    for number in range(1, QUIET_WINDOWS + 1):
        assert standing(book) == ["drift"]
        windows += [window(2 * number), window(2 * number + 1, judged=0)]
        alarms.of_windows(windows, first=len(windows) - 2, version="1", now=float(number))
    assert standing(book) == []


def test_errors_end_by_requests_where_no_row_is_judged(alarms: Alarms, book: AlertBook) -> None:
    windows = [window(0, finding("errors"), judged=0), *(window(n, judged=0) for n in range(1, QUIET_WINDOWS + 1))]
    alarms.of_windows(windows[:1], first=0, version="1", now=1.0)
    assert standing(book) == ["errors"]
    alarms.of_windows(windows, first=1, version="1", now=2.0)
    assert standing(book) == []


def test_performance_outlives_a_file_of_few_labels_and_ends_after_several(alarms: Alarms, book: AlertBook) -> None:
    files = [labels(0, finding("performance")), labels(1, rows=2)]
    alarms.of_labels(files, first=0, version="1", now=1.0)
    assert standing(book) == ["performance"]
    for number in range(2, 2 + QUIET_LABELS):
        assert standing(book) == ["performance"]
        files.append(labels(number))
        alarms.of_labels(files, first=len(files) - 1, version="1", now=float(number))
    assert standing(book) == []


def test_a_version_that_is_replaced_raises_nothing_more(alarms: Alarms, book: AlertBook) -> None:
    alarms.of_windows([window(0, finding("drift"))], first=0, version="1", now=1.0)
    alarms.over_of_version("1", 2.0)
    assert standing(book) == []
    alarms.of_windows([window(1, finding("errors"))], first=0, version="2", now=3.0)
    alarms.of_labels([labels(1, finding("performance"))], first=0, version="2", now=3.0)
    assert standing(book) == []


def test_where_it_had_come_to_is_read_from_the_journal() -> None:
    entries = [{"entry": "control.acted", "windows": 3, "labels": 1}, {"entry": "pinned"}]
    assert acted(cast("Any", entries)) == (3, 1)
    assert acted([]) == (0, 0)
