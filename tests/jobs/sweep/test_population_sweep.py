"""A whole population on this host: trials pause, copy each other, and the best one's course trains it again."""

from __future__ import annotations

from pathlib import Path

import pytest

import forgeline as fl
from forgeline.ledger.ledger import open_ledger
from forgeline_jobs.sweep.trials import Outcome, read

pytestmark = pytest.mark.ray

SWEEP = """
kind: sweep
name: wine-population
train:
  architecture: {name: mlp, hidden: [16]}
  data: {name: wine, batch_size: 16}
  trainer: {epochs: 6}
space:
  optimizer.lr: {log_uniform: [1e-5, 1e-1]}
  optimizer.weight_decay: {uniform: [0, 0.1]}
search: {algorithm: pbt, trials: 4, interval: 2ep, concurrent: 2, quantile: 0.5, seed: 1}
objective: {metric: val/loss}
"""


def test_the_worst_go_on_as_copies_and_the_best_is_trained_again_to_the_last_digit(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP, encoding="utf-8")
    sweep = fl.run(file)
    assert sweep.state == "succeeded", sweep.message
    ledger = open_ledger()
    journal = ledger.journal(sweep.id)
    trials = read(journal)
    assert [trial.outcome for trial in trials] == [Outcome.SUCCEEDED] * 4
    generations = [entry for entry in journal if entry["entry"] == "generation"]
    assert [(entry["step"], len(entry["copies"])) for entry in generations] == [(2, 2), (4, 2)]
    runs = {int(run.labels["sweep-trial"]): run for run in ledger.list_runs(parent=sweep.id)}
    for trial in trials:
        attempts = ledger.attempts(runs[trial.number].id)
        assert [(one.cause, one.outcome, one.reason) for one in attempts] == [
            ("first", "cancelled", "paused"),
            ("resume", "cancelled", "paused"),
            ("resume", "succeeded", None),
        ]
        assert [one.first_step for one in attempts[1:]] == [one.last_step for one in attempts[:-1]], "nothing is redone"
    for entry in generations:
        for copy in entry["copies"]:
            # The copy's next measurement is of the source's weights: nearer to it than to where the copy stood.
            reports, step = trials[copy["trial"]].reports, entry["step"]
            there = trials[copy["source"]].reports[step][0]
            assert abs(reports[step + 1][0] - there) < abs(reports[step + 1][0] - reports[step][0])
    copied = next(trial for trial in trials if trial.copies)
    best = fl.run(_spec_of(sweep, copied.number, tmp_path))
    assert best.state == "succeeded"
    assert [one.cause for one in ledger.attempts(best.id)][0] == "first"
    assert {one.cause for one in ledger.attempts(best.id)[1:]} == {"changed"}
    assert copied.objectives == [best.metrics["val/loss"]]


def _spec_of(sweep: fl.Run, trial: int, folder: Path) -> Path:
    from typer.testing import CliRunner

    from forgeline_jobs.sweep.command import app

    told = CliRunner().invoke(app, ["best", sweep.id, "--trial", str(trial)])
    assert told.exit_code == 0, told.output
    file = folder / "again.yaml"
    file.write_text(told.output, encoding="utf-8")
    return file
