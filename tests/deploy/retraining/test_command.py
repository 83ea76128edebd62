"""`forgeline retraining`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forgeline.errors import UsageError
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.retraining.command import app
from forgeline_deploy.retraining.retraining import Retraining, Wish


def test_a_person_lists_and_approves(
    controller: Callable[..., Retraining], ledger: Ledger, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    monkeypatch.setenv("FORGELINE_LEDGER_URL", url)
    run = CliRunner().invoke
    assert run(app, ["list", "wine-live"]).output == "no retraining was wanted yet\n"
    assert isinstance(run(app, ["approve", "wine-live"]).exception, UsageError)
    one = controller(approve="person")
    one.want(Wish(why="harm", summary="accuracy fell", labelled=300), 5.0)
    assert "retraining 1: approved by" in run(app, ["approve", "wine-live"]).output
    [row] = json.loads(run(app, ["list", "run1", "--format", "json"]).output)
    assert (row["number"], row["stage"], row["why"], row["wanted"]) == (1, "approved", "harm", 5.0)
    assert "accuracy fell" in run(app, ["list", "wine-live"]).output
    ledger.transition("run1", "failed")
    ended = run(app, ["refuse", "wine-live", "--why", "late"]).exception
    assert isinstance(ended, UsageError) and "has ended" in str(ended)
