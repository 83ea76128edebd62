"""The monitor: windows are judged, stored, and taken up again by the next process; what fails is tried again."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgeline.bundle.reference import Reference
from forgeline.errors import LedgerError
from forgeline.ledger.journal import Journal, Superseded
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.monitor import Monitor, MonitorConfig, StoredWindow, WindowStore
from forgeline_deploy.monitor.decision import Decision
from forgeline_deploy.monitor.pane import PaneKey
from forgeline_deploy.monitor.standing import window_row
from forgeline_deploy.monitor.window_file import WindowCorrupted
from tests.deploy.monitor.traffic import CHAMPION, batch, recorder

CONFIG = MonitorConfig.model_validate(
    {"window": "10s", "promise": {"false_alarms": "1 per 1h"}, "lateness": "2s", "silent": "5s", "minimum": 100}
)


class Watching:
    """One replica and a monitor, in one process; time passes as it is told."""

    def __init__(self, journal: Journal, folder: Path, reference: Reference, *, config: MonitorConfig = CONFIG) -> None:
        self.told: list[str] = []
        self.journal, self.folder, self.reference, self.config = journal, folder, reference, config
        self.replica = recorder("a", reference)
        self.lives = 0
        self.begin(0.0)

    def begin(self, now: float) -> None:
        self.lives += 1
        self.monitor = Monitor(
            self.config,
            references={"1": self.reference},
            store=WindowStore(self.folder, self.journal),
            id=f"c{self.lives}",
            now=now,
            tell=self.told.append,
        )

    def window(self, number: int, *, rows: int = 200, shift: float = 0.0) -> list[StoredWindow]:
        """A window of traffic, and what is safe after it."""
        start = 10.0 * number
        self.replica.record(batch(rows, start + 5, seed=number, shift=shift))
        for now in (start + 6, start + 9, start + 12.5):
            self.replica.exchange(lambda delivery, at=now: self.monitor.receive(delivery, at))  # type: ignore[misc]
        return self.monitor.tick(start + 12.5)


@pytest.fixture
def watching(journal: Journal, tmp_path: Path, reference: Reference) -> Watching:
    return Watching(journal, tmp_path / "windows", reference)


def test_drift_is_a_ticket_and_names_its_feature(watching: Watching) -> None:
    quiet = [watching.window(number) for number in range(3)]
    assert [[window.decision.severity for window in safe] for safe in quiet] == [[None]] * 3
    [drifted] = watching.window(3, shift=1.0)
    [finding] = drifted.decision.findings
    assert (finding.severity, finding.about, finding.subject, finding.stream) == (
        "ticket", "drift", "usage", "champion 1",
    )  # fmt: skip
    assert drifted.decision.features[0]["feature"] == "usage" and drifted.decision.judged_rows == 200
    assert "sigma" in finding.text and watching.told == []


def test_errors_and_slowness_are_paged_only_where_chance_is_no_explanation(
    journal: Journal, tmp_path: Path, reference: Reference
) -> None:
    config = CONFIG.model_validate(CONFIG.model_dump() | {"bounds": {"errors": "5%", "p99": "0.5s"}})
    watching = Watching(journal, tmp_path / "windows", reference, config=config)
    watching.replica.failed(CHAMPION, [5.0] * 12, [0.1] * 12)
    [window] = watching.window(0)
    assert window.decision.findings == ()  # 12 of 212 are more than 5 %, and may be chance
    watching.replica.failed(CHAMPION, [15.0] * 60, [2.0] * 60)
    for number in range(50):
        watching.replica.refused(CHAMPION, 15.0, "422 age" if number % 5 else "422 plan")
    [window] = watching.window(1)
    found = {finding.about: finding for finding in window.decision.findings}
    assert {about: finding.severity for about, finding in found.items()} == {
        "errors": "page", "latency": "page", "quality": "ticket",
    }  # fmt: skip
    assert "60" not in found["quality"].text and "most of all for 422 age" in found["quality"].text
    assert window_row(window)["refused"] == {"champion 1": "422 age (40), 422 plan (10)"}
    assert Decision.of(window.decision.plain()) == window.decision
    before_it_was_kept = {name: told for name, told in window.decision.plain().items() if name != "refused"}
    assert Decision.of(before_it_was_kept).refused == {}
    assert window.decision.severity == "page"
    assert window.decision.measures["champion 1"]["errors"] == 60 / 310


def test_windows_with_few_rows_are_judged_together(watching: Watching) -> None:
    judged = [watching.window(number, rows=40)[0].decision.judged_rows for number in range(5)]
    assert judged == [0, 0, 120, 0, 0]
    watching.begin(60.0)
    assert watching.window(6, rows=40)[0].decision.judged_rows == 120


def test_rows_that_were_counted_by_fewer_features_are_not_judged_with_others(watching: Watching) -> None:
    watching.window(0, rows=60)
    carried = [(key, tally) for held in watching.monitor.judge._carried.values() for key, tally in held]
    [(key, tally)] = carried
    assert tally.observation is not None
    watching.monitor.judge._carried[CHAMPION, None] = [
        (key, replace(tally, observation=replace(tally.observation, outputs={})))
    ]
    [window] = watching.window(1, rows=110)
    assert window.decision.judged_rows == 110


def test_a_restarted_monitor_stands_where_the_one_before_stood(watching: Watching) -> None:
    for number in range(4):
        watching.window(number, rows=70 if number % 2 else 150)
    before = watching.monitor.judge.state()
    watching.begin(60.0)
    assert watching.monitor.judge.state() == before
    assert watching.told == []
    receipt = watching.monitor.receive(watching.replica.delivery(), 61.0)
    watching.replica.receive(receipt)
    # What is in a stored window is not counted again.
    watching.replica.exchange(lambda delivery: watching.monitor.receive(delivery, 62.0))
    assert watching.monitor.tick(90.0) == []


def test_a_window_that_cannot_be_written_is_kept_and_tried_again(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.window(0)
    real, full = os.fsync, OSError(28, "No space left on device")

    def fsync(descriptor: int) -> None:
        raise full

    monkeypatch.setattr(os, "fsync", fsync)
    assert watching.window(1) == [] and watching.window(2) == []
    assert watching.monitor.unsafe_windows == 2 and "2 windows are kept in memory" in str(watching.monitor.trouble)
    assert [line for line in watching.told if "No space left" in line and "1 window is kept" in line]
    assert len(watching.told) == 1
    monkeypatch.setattr(os, "fsync", real)
    assert [stored.key.start for stored in watching.window(3)] == [10.0, 20.0, 30.0]
    assert watching.monitor.trouble is None and watching.told[-1] == "windows can be stored again; none was lost"
    assert not [path for path in watching.folder.iterdir() if path.name.startswith(".")]


def test_a_window_that_no_file_can_hold_is_told_and_holds_nothing_up(watching: Watching) -> None:
    watching.replica.refused(CHAMPION, 5.0, "422 \ud800")
    assert watching.window(0) == []
    assert watching.monitor.unsafe_windows == 0 and watching.monitor.trouble is None
    [told] = watching.told
    assert "the window from 0 to 10 (unix seconds) cannot be written" in told
    assert "its 201 requests and 200 answered rows are lost" in told
    [stored] = watching.window(1)
    assert stored.remarks[-1] == told and stored.rows == 200
    [later] = watching.window(2)
    assert told not in later.remarks
    # Nothing that goes on rests on what was lost, not even where it was too little to be judged by itself.
    watching.replica.refused(CHAMPION, 35.0, "422 \ud800")
    assert watching.window(3, rows=40) == [] and watching.window(4, rows=40)[0].decision.judged_rows == 0
    before = watching.monitor.judge.state()
    watching.begin(60.0)
    assert watching.monitor.judge.state() == before and len(watching.monitor.store.windows) == 3


def test_a_ledger_that_is_away_holds_windows_and_acknowledges_none(watching: Watching, ledger: Ledger) -> None:
    watching.window(0)
    write = ledger.writer.append_to_journal

    def away(*given: Any) -> bool:
        raise LedgerError("the database does not answer")

    ledger.writer.append_to_journal = away  # type: ignore[method-assign]
    assert watching.window(1) == [] and watching.monitor.unsafe_windows == 1
    # Its replica keeps the pane: a monitor that was killed now would be told all of it again.
    assert (CHAMPION, PaneKey(10.0)) in watching.replica.delivery().holds
    ledger.writer.append_to_journal = write  # type: ignore[method-assign]
    assert [stored.number for stored in watching.window(2)] == [1, 2]
    assert len(ledger.journal("deployment1")) == 2 + 3


def test_a_monitor_whose_run_has_ended_stops(watching: Watching, ledger: Ledger) -> None:
    ledger.transition("deployment1", "failed", "platform_error")
    with pytest.raises(Superseded):
        watching.window(0)


def test_a_file_that_was_altered_is_told_and_not_read(watching: Watching) -> None:
    for number in range(3):
        watching.window(number)
    *_, before, last = watching.monitor.store.windows
    _, state_before = watching.monitor.store.folder.read(before)
    path = watching.folder / last.file.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WindowCorrupted, match="was altered"):
        watching.monitor.store.folder.read(last)
    watching.begin(60.0)
    assert watching.monitor.judge.state() == state_before
    [line] = watching.told
    assert line.startswith("window 2: ") and "goes on from the window before it" in line


def test_another_policy_judges_all_stored_windows_anew(watching: Watching) -> None:
    for number in range(3):
        watching.window(number)
    windows = watching.monitor.judge.state()["detectors"]["1"]["windows"]
    watching.config = MonitorConfig.model_validate(CONFIG.model_dump() | {"tolerance": {"default": "0.2 sigma"}})
    watching.begin(60.0)
    assert watching.told == ["the policy or a reference has changed: all stored windows are judged anew by it"]
    assert watching.monitor.judge.state()["detectors"]["1"]["windows"] == windows == 3


def test_a_version_without_statistics_is_counted_and_told(watching: Watching) -> None:
    watching.monitor.watch("2", None)
    assert "version 2 has no reference statistics" in watching.told[0]


def test_what_is_in_a_file_is_what_was_counted(watching: Watching) -> None:
    watching.replica.refused(CHAMPION, 5.0, "a")
    watching.replica.failed(CHAMPION, [5.0], [0.2])
    [stored] = watching.window(0, rows=123)
    window, _ = watching.monitor.store.folder.read(stored)
    part = window.parts[CHAMPION]
    assert (part.tally.rows, part.tally.requests, part.tally.errors, part.tally.refused) == (123, 125, 1, {"a": 1})
    assert part.tally.observation is not None and part.tally.observation.inputs["usage"].rows == 123
    assert part.tally.latency.requests == 124
    answers = list(watching.monitor.store.folder.answers(stored))
    assert len(answers) == 123 and answers[0][1].confidence == 0.9


def test_the_journal_alone_names_windows(watching: Watching, tmp_path: Path) -> None:
    """A file that no entry names, left by a kill between the two, is no window."""
    watching.window(0)
    (watching.folder / "000001-0123456789ab.parquet").write_bytes(b"half")
    watching.begin(60.0)
    assert [stored.number for stored in watching.monitor.store.windows] == [0]
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (3,)
