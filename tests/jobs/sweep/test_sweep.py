"""A whole sweep: trials that are runs, stopped early, tracked below the sweep; extended; its best one trained again."""

from __future__ import annotations

from pathlib import Path

import pytest

import forgeline as fl
from forgeline.errors import UsageError
from forgeline.ledger.ledger import open_ledger
from forgeline.ledger.records import RunRecord
from forgeline.registry.models import Registry
from forgeline.settings import settings
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.sweep.trials import Outcome, read

pytestmark = pytest.mark.ray

TRAIN = """
kind: train
name: wine
architecture: {name: mlp, hidden: [16]}
data: {name: wine, batch_size: 16}
trainer: {epochs: 4}
"""
SWEEP = """
kind: sweep
name: wine-sweep
train: wine.yaml
space:
  optimizer.lr: {log_uniform: [1e-4, 1e-1]}
  architecture.dropout: {uniform: [0, 0.5]}
search: {trials: 5, concurrent: 2}
objective: {metric: val/loss}
stop: {scheduler: asha, grace: 1ep, reduction: 2}
register: {model: wine, gate: {metric: val/loss, at_most: 100}, retrain: true}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "wine.yaml").write_text(TRAIN, encoding="utf-8")
    (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return folder / "sweep.yaml"


@pytest.fixture(scope="module")
def sweep(home: Path, file: Path) -> fl.Run:
    run = fl.run(file)
    assert run.state == "succeeded", run.message
    return run


def runs_of_trials(sweep: fl.Run) -> dict[int, RunRecord]:
    runs = open_ledger().list_runs(parent=sweep.id)
    return {int(run.labels["sweep-trial"]): run for run in runs if "sweep-trial" in run.labels}


def test_each_trial_is_a_run_of_its_own_below_the_sweep(sweep: fl.Run) -> None:
    ledger, environment = open_ledger(), settings()
    trials = read(ledger.journal(sweep.id))
    runs = runs_of_trials(sweep)
    assert sorted(runs) == [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    for trial in trials:
        run, tracked = runs[trial.number], tracker.get(runs[trial.number].id)
        assert tracked.tags["mlflow.parentRunId"] == sweep.id
        assert float(tracked.params["optimizer.lr"]) == trial.values["optimizer.lr"]
        assert trial.reports and ledger.attempts(run.id)
        if trial.outcome is Outcome.SUCCEEDED:
            assert run.state == "succeeded" and trial.objectives == [run.metrics["val/loss"]]
        else:
            assert trial.outcome is Outcome.PRUNED
            # Training waits for no verdict: a short one may have come to its end by then.
            assert run.reason == "pruned" or run.state == "succeeded"
            assert trial.objectives == trial.reports[trial.step]
    assert any(trial.outcome is Outcome.SUCCEEDED for trial in trials)
    assert [run.id for run in ledger.list_runs()] == [sweep.id]


def test_the_best_spec_gives_the_best_trial_again_to_the_last_digit(sweep: fl.Run) -> None:
    again = fl.run(Path(sweep.result["best_spec"]))
    [best] = sweep.result["best"]
    assert again.metrics["val/loss"] == best["objectives"][0]
    assert sweep.metrics["val/loss"] == best["objectives"][0]


def test_the_best_model_is_trained_once_more_on_both_splits_and_registered(sweep: fl.Run) -> None:
    [best] = sweep.result["best"]
    registered = sweep.result["registered"]
    assert (registered["model"], registered["version"], registered["alias"]) == ("wine", 1, "champion")
    environment = settings()
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    registry = Registry(tracker, environment.resolved_ledger_url, home=environment.home_folder)
    metrics = registry.metrics_of("wine", "champion")
    assert metrics is not None and metrics["val/loss"] == best["objectives"][0], "what the trial has shown"
    retrained = next(part for part in sweep.parts if "sweep-retrained" in part.record.labels)
    assert retrained.record.labels["sweep-retrained"] == str(best["trial"])
    assert tracker.client.get_model_version("wine", "1").run_id == retrained.id
    rows = sum(retrained.record.spec.count(f"{word}") for word in ("train_on: train+val", "select: last"))
    assert rows == 2 and len(sweep.parts) == 6


def test_its_end_leaves_a_report_here_and_in_the_tracking_store(sweep: fl.Run) -> None:
    environment = settings()
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    sent = {Path(file.path).name for file in tracker.client.list_artifacts(sweep.id, "sweep")}
    assert sent == {path.name for path in sweep.artifacts.iterdir()}
    assert {"best.yaml", "sweep.html", "history.png", "slice.png", "parallel-coordinates.png"} <= sent
    page = (sweep.artifacts / "sweep.html").read_text(encoding="utf-8")
    assert all(run.id in page for run in runs_of_trials(sweep).values())
    assert sweep.table["trial"].sort_values().tolist() == [0, 1, 2, 3, 4]


def test_a_sweep_that_has_ended_takes_more_trials_and_nothing_else(sweep: fl.Run, file: Path) -> None:
    with pytest.raises(UsageError, match=r"has its 5 trials; raise search\.trials"):
        fl.run(file, resume=sweep.id)
    with pytest.raises(UsageError, match=r"another search\.seed \(0, now 1\)"):
        fl.run(file, set={"search.seed": 1}, resume=sweep.id)
    before = open_ledger().journal(sweep.id)
    more = fl.run(file, set={"search.trials": 6}, resume=sweep.id)
    assert (more.id, more.state) == (sweep.id, "succeeded")
    after = open_ledger().journal(sweep.id)
    assert after[: len(before)] == before
    assert [trial.number for trial in read(after)][-1] == 5
