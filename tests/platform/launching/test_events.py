"""Events: written whole, read whole, renamed under a reader, told apart from other log lines."""

from __future__ import annotations

import io
import json
import math
import threading
from pathlib import Path

from forgeline.launching.events import MARKER, EventLog, EventReader, exit_code, is_last, parse_lines


def test_a_reader_sees_what_was_written_even_when_the_file_was_renamed(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "staging" / "events.jsonl")
    reader = EventReader(tmp_path / "staging" / "events.jsonl")
    log.emit("message", text="one")
    assert [event["text"] for event in reader.read_new()] == ["one"]
    (tmp_path / "run").mkdir()
    log.move(tmp_path / "run" / "events.jsonl")
    log.emit("message", text="two")
    assert [event["text"] for event in reader.read_new()] == ["two"]
    assert log.path == tmp_path / "run" / "events.jsonl"
    assert reader.read_new() == []


def test_a_file_that_is_not_there_yet_has_no_events(tmp_path: Path) -> None:
    assert EventReader(tmp_path / "later.jsonl").read_new() == []


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "message", "te')
    reader = EventReader(path)
    assert reader.read_new() == []
    with path.open("a") as file:
        file.write('xt": "whole"}\n')
    assert [event["text"] for event in reader.read_new()] == ["whole"]


def test_lines_that_are_no_events_are_passed_over() -> None:
    lines = ["", "no json", "[1]", '{"no": "event"}', '{"event": "message"}']
    assert list(parse_lines(lines)) == [{"event": "message"}]


def test_values_that_json_cannot_hold_become_text(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.emit("step", loss=math.nan, metrics={"val/loss": math.inf}, path=tmp_path, items=(1, 2))
    [event] = EventReader(tmp_path / "events.jsonl").read_new()
    assert event["loss"] == "nan"
    assert event["metrics"] == {"val/loss": "inf"}
    assert event["items"] == [1, 2]


def test_the_echo_is_marked(tmp_path: Path) -> None:
    echo = io.StringIO()
    EventLog(tmp_path / "events.jsonl", echo=echo).emit("run", run_id="1")
    assert echo.getvalue().startswith(MARKER)
    assert json.loads(echo.getvalue().removeprefix(MARKER))["run_id"] == "1"


def test_threads_do_not_cut_each_others_lines(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    threads = [
        threading.Thread(target=lambda: [log.emit("message", text="x" * 500) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(EventReader(tmp_path / "events.jsonl").read_new()) == 200


def test_which_event_is_the_last() -> None:
    assert is_last({"event": "error"})
    assert is_last({"event": "state", "state": "cancelled"})
    assert not is_last({"event": "state", "state": "running"})
    assert not is_last({"event": "result"})


def test_exit_codes_of_states() -> None:
    states = ("succeeded", "failed", "running", "cancelled", "timed_out")
    assert [exit_code(state) for state in states] == [0, 100, 101, 103, 104]
