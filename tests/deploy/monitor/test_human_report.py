"""Evidently's report: what it is made of, and one page of it, attached to a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.reference import Reference
from forgeline.errors import ForgelineError
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline.tracking.tracker import Tracker
from forgeline_deploy.commands import DRIFT, MONITOR
from forgeline_deploy.monitor import human_report
from forgeline_deploy.monitor.human_report import sides_of_counts
from forgeline_deploy.monitor.report_process import report_arguments
from tests.deploy.monitor.test_monitor import Watching
from tests.deploy.monitor.traffic import batch, count_by

Customers = Callable[[int, int], pd.DataFrame]


def test_rows_of_bins_have_the_shares_of_the_counts(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    window = count_by(reference)(batch(300, 0.0, seed=1, shift=0.5))
    sides = sides_of_counts(reference, window)
    assert sides.numeric == ("usage",) and sides.categorical == ("plan", "prediction (output)")
    assert sides.current["usage"].count() == 300 and sides.reference["usage"].count() == 5000
    assert abs(sides.current["usage"].mean() - 0.5) < 0.2 and abs(sides.reference["usage"].mean()) < 0.05
    assert "No rows were kept" in sides.notes[0]
    monkeypatch.setattr(human_report, "MOST_ROWS", 100)
    thin = sides_of_counts(reference, window).current["plan"]
    assert len(thin.dropna()) == 100
    full = sides.current["plan"].value_counts(normalize=True)
    assert np.abs(thin.value_counts(normalize=True) - full).max() <= 0.01


def test_a_window_s_report_is_attached_to_its_run(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri())
    run_id = tracker.create_run("forgeline", "<b>digits</b>")
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.create_run(id=run_id, name="<b>digits</b>", kind="deployment", spec="")
    watching = Watching(Journal(ledger, ledger.get(run_id)), tmp_path / "runs" / run_id / "windows", reference)
    watching.window(0, shift=0.5)
    output = tmp_path / "report.html"
    # As the controller asks for it.
    _, *given = [*report_arguments(run_id, 0, output), "--format", "json"]
    MONITOR.load().main(given, prog_name="forgeline monitor", standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["artifact"] == "windows/000000"
    [artifact] = tracker.client.list_artifacts(run_id, "windows/000000")
    assert artifact.path == "windows/000000/report.html"
    page = output.read_text()
    assert "&lt;b&gt;digits&lt;/b&gt;, window 0: champion 1, 200 rows" in page and "<b>digits" not in page
    assert "No rows were kept" in page and "usage" in page
    assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:[^"]+"', page) == []
    with pytest.raises(ForgelineError, match="is there already"):
        MONITOR.load().main(given, prog_name="forgeline monitor", standalone_mode=False)
    ledger.close()


def test_a_file_s_report_compares_counts_or_rows(
    bundle: Bundle, customers: Customers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    customers(0, 500).to_csv(tmp_path / "old.csv", index=False)
    customers(7, 300).to_csv(tmp_path / "new.csv", index=False)
    for name, more in (("counts", []), ("rows", ["--rows", str(tmp_path / "old.csv")])):
        output = tmp_path / f"{name}.html"
        given = ["report", str(bundle.folder), str(tmp_path / "new.csv"), "--output", str(output), *more]
        DRIFT.load().main(given, prog_name="forgeline drift", standalone_mode=False)
        assert f"compared by {name}" in capsys.readouterr().out
        assert ("Both sides are rows" in output.read_text()) == (name == "rows")
    with pytest.raises(ForgelineError, match="ends in .html"):
        DRIFT.load().main([*given[:4], str(tmp_path / "a.txt")], prog_name="forgeline drift", standalone_mode=False)
