"""`forgeline alerts list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forgeline.ledger.journal import Journal
from forgeline_deploy.alerts.alert import Alert, Severity
from forgeline_deploy.alerts.book import AlertBook
from forgeline_deploy.alerts.command import app
from forgeline_deploy.alerts.outbox import Outbox
from forgeline_deploy.alerts.spec import LogConfig


def test_alerts_are_listed_with_whom_they_did_not_reach(
    journal: Callable[[], Journal],
    alert: Callable[..., Alert],
    tmp_path: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    monkeypatch.setenv("FORGELINE_LEDGER_URL", url)
    written = journal()
    empty = CliRunner().invoke(app, ["list", "digits"])
    assert empty.exit_code == 0 and empty.output == "no alert\n"
    book, outbox = AlertBook(written, [LogConfig(log=True)]), Outbox(written)
    book.see(alert(), 1000.0)
    outbox.delivered(outbox.due(1000.0)[0], 1000.0)
    book.see(alert(kind="harm", severity=Severity.PAGE), 2000.0)
    book.clear(alert().key, 3000.0)
    outbox.failed(outbox.due(3000.0)[0], "the disk is full", 3000.0)
    listed = json.loads(CliRunner().invoke(app, ["list", "digits", "--format", "json"]).output)
    assert [(row["kind"], row["resolved"]) for row in listed] == [("harm", None), ("drift", 3000.0)]
    assert listed[0]["undelivered"][0]["error"] == "the disk is full" and listed[0]["undelivered"][0]["tries"] == 1
    lasting = json.loads(CliRunner().invoke(app, ["list", "run1", "--open", "--format", "json"]).output)
    assert [row["kind"] for row in lasting] == ["harm"]
    table = CliRunner().invoke(app, ["list", "digits"]).output
    assert "harm" in table and "log (1)" in table
