"""Following events to the end, also when the writer dies."""

from __future__ import annotations

from pathlib import Path

from forgeline.launching.events import Event, EventLog, EventReader
from forgeline.launching.follow import follow

DEATH: Event = {"event": "state", "state": "failed", "reason": "platform_error"}


def test_it_ends_with_the_last_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.emit("run", run_id="1")
    log.emit("state", state="succeeded")
    log.emit("message", text="too late")
    events = list(follow(EventReader(tmp_path / "events.jsonl"), alive=lambda: True, on_death=lambda: DEATH))
    assert [event["event"] for event in events] == ["run", "state"]


def test_what_a_dead_writer_wrote_is_read_before_its_death_is_told(tmp_path: Path) -> None:
    EventLog(tmp_path / "events.jsonl").emit("run", run_id="1")
    events = list(follow(EventReader(tmp_path / "events.jsonl"), alive=lambda: False, on_death=lambda: DEATH))
    assert [event["event"] for event in events] == ["run", "state"]
    assert events[-1] is DEATH


def test_a_writer_that_died_after_its_last_event_is_no_death(tmp_path: Path) -> None:
    EventLog(tmp_path / "events.jsonl").emit("state", state="succeeded")
    [event] = follow(EventReader(tmp_path / "events.jsonl"), alive=lambda: False, on_death=lambda: DEATH)
    assert event["state"] == "succeeded"


def test_events_from_a_byte_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.emit("state", state="failed")
    start = path.stat().st_size
    log.emit("state", state="succeeded")
    [event] = follow(EventReader(path, start=start), alive=lambda: True, on_death=lambda: DEATH)
    assert event["state"] == "succeeded"
