"""What a run's events look like in a log and on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from forgeline.cli.progress import LiveDisplay, PlainDisplay, describe, show_summary, step_text

STEP = {
    "event": "step",
    "step": 3,
    "steps": 10,
    "epoch": 1,
    "epochs": 2,
    "loss": 0.5,
    "samples_per_s": 100.0,
    "eta_s": 7.0,
}


def test_a_log_gets_one_step_line_in_ten_seconds_and_every_epoch() -> None:
    lines = list[str]()
    display = PlainDisplay(lines.append)
    for second in range(25):
        display.show({**STEP, "time": 1000 * second})
    display.show(
        {
            "event": "epoch",
            "time": 25_000,
            "epoch": 1,
            "epochs": 2,
            "step": 5,
            "metrics": {"val/loss": 0.25, "val/f1[a]": 1.0},
        }
    )
    display.close()
    assert lines[:2] == [step_text(STEP)] * 2
    assert lines[2] == "epoch 1/2, step 5: val/loss 0.25"
    assert len(lines) == 3


def test_a_step_in_words() -> None:
    assert step_text(STEP) == "epoch 1/2, step 3/10, loss 0.5, 100 samples/s, 7.0 s left"
    assert step_text({"step": 3}) == "step 3"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "state", "state": "running"}, "running"),
        ({"event": "state", "state": "failed", "reason": "hang", "message": "no step"}, "failed: no step"),
        ({"event": "attempt", "number": 2, "cause": "node_lost", "step": None}, "attempt 2 (node_lost)"),
        ({"event": "attempt", "number": 2, "cause": "resume", "step": 7}, "attempt 2 (resume), from step 7"),
        (
            {"event": "registered", "model": "digits", "version": 3, "alias": "champion"},
            "registered digits version 3 as champion",
        ),
        (
            {"event": "registered", "model": "digits", "version": 3, "alias": None},
            "registered digits version 3 as a candidate",
        ),
        ({"event": "message", "text": "t", "level": "warning"}, "warning: t"),
        ({"event": "something new"}, None),
        ({"event": "something new", "text": "it has a word to say"}, "it has a word to say"),
        ({"event": "result", "text": "a model wrote this"}, None),
        ({"event": "table", "columns": ["a"], "rows": [[1]]}, None),
    ],
)
def test_events_in_words(event: dict[str, object], line: str | None) -> None:
    assert describe(event) == line


def test_a_terminal_gets_a_bar_and_lines_above_it() -> None:
    out = io.StringIO()
    display = LiveDisplay(Console(file=out, force_terminal=True, width=120, highlight=False))
    for event in (
        {"event": "run", "run_id": "1", "kind": "train", "name": "digits"},
        {"event": "state", "state": "stopping", "message": "no space left on [/some/disk]"},
        {"event": "message", "text": "what is in [/brackets] is no markup"},
        {"event": "state", "state": "running"},
        STEP,
        {"event": "epoch", "epoch": 1, "epochs": 2, "step": 5, "metrics": {"val/loss": 0.25}},
        {**STEP, "step": 10},
    ):
        display.show(event)
    display.close()
    text = out.getvalue()
    assert "run 1 (train digits)" in text
    assert "no space left on [/some/disk]" in text
    assert "what is in [/brackets]" in text
    assert "100 %" in text
    assert "val/loss 0.25" in text


def test_a_table_that_a_kind_tells_stays_in_place_and_has_its_lines_in_it() -> None:
    out = io.StringIO()
    display = LiveDisplay(Console(file=out, force_terminal=True, width=80, highlight=False))
    display.show({"event": "part", "text": "before there is a table"})
    for score in (0.25, 0.123456789):
        row = [7, "[/brackets]", score, None, "running"]
        columns = ["part", "value", "score", "left", "state"]
        display.show({"event": "table", "title": "1 of 9 parts", "columns": columns, "rows": [row]})
        display.show({"event": "part", "text": "what the table says"})
    display.show({"event": "message", "text": "a word beside it"})
    display.show({"event": "state", "state": "stopping", "message": "somebody asked for it"})
    display.close()
    text = out.getvalue()
    for shown in (
        "before there is a table",
        "1 of 9 parts",
        "[/brackets]",
        "0.12346",
        "a word beside it",
        "asked for it",
    ):
        assert shown in text
    assert "what the table says" not in text
    assert text.rindex("a word beside it") < text.rindex("0.12346")


def test_the_summary_says_what_came_out_and_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "state": "succeeded",
        "run_id": "0123456789abcdef0123456789abcdef",
        "metrics": {"val/accuracy": 0.97},
        "registered": {"model": "digits", "version": 2, "alias": None, "gate": ["val/accuracy 0.97 is below 0.98"]},
    }
    show_summary(summary, spec=Path("digits.yaml"), folder=Path("/home/me/.forgeline/runs/0123"))
    out = capsys.readouterr().out
    for part in ("succeeded", "val/accuracy 0.97", "digits version 2", "candidate", "below 0.98", "forgeline ui"):
        assert part in out
    assert "forgeline runs show 01234567\n" in out
    assert "--resume" not in out


def test_the_summary_of_a_cancelled_run_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = {"state": "cancelled", "run_id": "0123456789ab", "reason": "cancelled", "message": "cancelled on request"}
    (tmp_path / "checkpoints").mkdir()
    show_summary(summary, spec=Path("my specs/digits.yaml"), folder=tmp_path)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["reason", "cancelled"] in lines
    assert ["message", "cancelled on request"] in lines
    assert ["resume", "forgeline run 'my specs/digits.yaml' --resume 01234567"] in lines


def test_a_run_that_wrote_a_journal_can_go_on_without_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"state": "cancelled", "run_id": "0123456789ab"}
    show_summary(summary, spec=Path("sweep.yaml"), folder=tmp_path, has_journal=True)
    assert "forgeline run sweep.yaml --resume 01234567" in capsys.readouterr().out
    show_summary(summary, spec=Path("sweep.yaml"), folder=tmp_path)
    assert "--resume" not in capsys.readouterr().out
