"""Tables and JSON: nothing that identifies is cut, and scripts get plain text."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from forgeline.cli.render import Format, duration, local_time, show_pairs, show_rows, text_of

LONG = "0123456789abcdef" * 16


def test_ids_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"id": LONG, "name": "digits"}], ["id", "name"], form=Format.TABLE, empty="")
    out = capsys.readouterr().out
    assert LONG in out
    assert "\x1b[" not in out
    assert len(out.splitlines()) == 2


def test_a_pipe_gets_one_line_a_row_and_no_padding_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "1", "said": "two\nlines"}, {"id": "22", "said": "x" * 300}]
    show_rows(rows, ["id", "said"], form=Format.TABLE, empty="")
    show_pairs([("a", "b" * 300), ("longer", "two\nlines")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["id  said", "1   two lines", f"22  {'x' * 300}", f"a       {'b' * 300}", "longer  two lines"]


def test_on_a_narrow_terminal_numbers_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    monkeypatch.setattr("forgeline.cli.render.console", lambda: out)
    row = {"version": 1, "created": "2026-01-02 03:04", "val/roc_auc": 0.123456, "said": "many words " * 20}
    show_rows([row], list(row), form=Format.TABLE, empty="")
    lines = out.file.getvalue().splitlines()
    assert lines[0].split() == list(row)
    assert lines[1].startswith("1        2026-01-02 03:04  0.12346")
    assert max(map(len, lines)) <= 60


def test_json_has_all_keys(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"id": "1", "hidden": 2}], ["id"], form=Format.JSON, empty="")
    assert json.loads(capsys.readouterr().out) == [{"id": "1", "hidden": 2}]


def test_an_empty_listing_says_so_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], ["id"], form=Format.TABLE, empty="no run yet")
    show_rows([], ["id"], form=Format.JSON, empty="no run yet")
    assert capsys.readouterr().out == "no run yet\n[]\n"


def test_markup_in_values_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"id": "[red]x[/red]"}], ["id"], form=Format.TABLE, empty="")
    show_pairs([("f1[benign]", 0.5), ("empty", None)], title="[b]")
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "f1[benign]" in out
    assert "empty" not in out


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (0.123456789, "0.12346"), (("a", 1), "a, 1"), ({"a": 1}, "a=1"), (3, "3")],
)
def test_cells(value: object, text: str) -> None:
    assert text_of(value) == text


def test_times() -> None:
    assert local_time(None) == ""
    assert local_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).astimezone())[:8] == "2026-01-"
    assert [duration(s) for s in (None, 0.26, 61, 3600)] == ["", "0.3 s", "1 min 1 s", "1 h 0 min"]
