"""`forgeline sweeps`, over sweeps that their drivers have written into the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

import forgeline as fl
from forgeline.cli.app import main
from forgeline.errors import UsageError
from forgeline_jobs.sweep.trials import Outcome
from forgeline_jobs.train.spec import TrainSpec
from tests.jobs.sweep.written import WrittenSweep

TWO = [{"metric": "val/loss"}, {"metric": "val/ece"}]


@pytest.fixture(scope="module")
def wine(home: Path) -> WrittenSweep:
    """A sweep with twelve ended trials, one of which failed, and one under way."""
    sweep = WrittenSweep("wine-sweep").work(11)
    sweep.end(sweep.begin(), Outcome.FAILED, message="the loss is not a number")
    trial = sweep.begin()
    sweep.study.report(trial.number, 1, [0.75])
    return sweep


def sweeps(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["sweeps", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def told(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    assert sweeps(*arguments, "--format", "json") == 0
    return json.loads(capsys.readouterr().out)


def test_show_tells_all_on_one_screen(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweeps("show", "wine-sweep") == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "state running" in lines
    assert "trials 13 of 20: 1 open, 9 succeeded, 2 pruned, 1 failed" in lines
    assert "train it again forgeline sweeps best wine-sweep > best.yaml" in lines
    for said in ("best trial", "what the keys explain of val/loss", "optimizer.weight_decay", "is not a number"):
        assert said in out
    table = lines[lines.index("trials, best first") + 2 :][:13]
    whole = {trial.number: trial.objectives for trial in wine.study.trials if trial.outcome is Outcome.SUCCEEDED}
    best = min(whole, key=lambda number: list(whole[number] or ()))
    assert lines[lines.index("best trial") + 1] == f"trial {best}"
    assert {line.split()[1] for line in table} == {"succeeded", "pruned", "failed", "running"}


def test_show_cuts_a_long_table_and_says_so(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweeps("show", "wine-sweep", "--trials", 2) == 0
    _, _, after = capsys.readouterr().out.partition("trials, best first; 2 of 13 (`--trials 13` shows all)\n")
    assert len(after.partition("\n\n")[0].splitlines()) == 3


def test_show_as_json_has_every_trial_best_first(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "show", "wine-sweep")
    assert found["counts"] == {"open": 1, "succeeded": 9, "pruned": 2, "failed": 1, "stopped": 0}
    assert len(found["trials"]) == 13 and found["asked"] == 20
    losses = [row["val/loss"] for row in found["trials"]]
    assert losses == sorted(losses)
    assert found["best"] == [row["trial"] for row in found["trials"] if row["best"]]
    for row in found["trials"]:
        trial = wine.study.trials[row["trial"]]
        assert {key: row[key] for key in trial.values} == dict(trial.values)
        assert row["run"] == wine.run_of(trial) and row["seconds"] >= 0
    assert found["spent"]["failed_trials"] == {"used": 1, "limit": None}
    important = found["importances"]["val/loss"]
    assert important[0]["key"] == "optimizer.lr" and important[0]["trials"] == 9


def test_the_same_table_from_python(wine: WrittenSweep) -> None:
    run = fl.get("wine-sweep")
    table = run.table
    assert len(table) == 13 and list(table.columns[:3]) == ["trial", "state", "best"]
    whole = table[table["state"] == "succeeded"]
    assert whole["val/loss"].is_monotonic_increasing and whole["best"].iloc[0]
    assert [part.id for part in run.parts] == [wine.run_of(trial) for trial in wine.study.trials]
    with pytest.raises(UsageError, match="kind train, whose runs have no table"):
        _ = run.parts[0].table


def test_a_pareto_front_is_marked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = WrittenSweep("wine-front", objective=TWO).work(10)
    found = told(capsys, "show", "wine-front")
    front = {row["trial"]: (row["val/loss"], row["val/ece"]) for row in found["trials"] if row["best"]}
    assert len(front) > 1 and set(found["best"]) == set(front)
    whole = [trial.objectives or () for trial in sweep.study.trials if trial.outcome is Outcome.SUCCEEDED]
    for one in front.values():
        assert not any(other[0] < one[0] and other[1] < one[1] for other in whole)
    assert sweeps("show", "wine-front") == 0
    out = capsys.readouterr().out
    assert f"Pareto front: {len(front)} trials; the first of them" in out
    assert "what the keys explain of val/ece" in out


def test_list_counts_trials_and_has_the_best(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    [row] = [row for row in told(capsys, "list") if row["name"] == "wine-sweep"]
    assert (row["ended"], row["asked"], row["failed"]) == (12, 20, 1)
    assert row["best"] == [told(capsys, "show", "wine-sweep")["trials"][0]["val/loss"]]
    assert sweeps("list") == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "wine-sweep" in line]
    assert "12 of 20, 1 failed" in line and "val/loss" in line


def test_best_prints_a_spec_that_trains_the_best_trial(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    best = told(capsys, "show", "wine-sweep")["trials"][0]
    assert sweeps("best", "wine-sweep") == 0
    text = capsys.readouterr().out
    spec = cast(TrainSpec, fl.load(written(wine, text)).spec)
    assert (spec.kind, spec.name, spec.data.name) == ("train", "wine-sweep-best", "wine")
    assert spec.optimizer.lr == best["optimizer.lr"]
    assert spec.architecture.dropout == best["architecture.dropout"]
    worst = told(capsys, "show", "wine-sweep")["trials"][-1]
    assert sweeps("best", "wine-sweep", "--trial", worst["trial"]) == 0
    assert f"dropout: {worst['architecture.dropout']}\n" in capsys.readouterr().out


def written(sweep: WrittenSweep, text: str) -> Path:
    path = Path(os.environ["FORGELINE_HOME"]) / "best.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_stop_asks_the_run_of_one_trial(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = WrittenSweep("stopping").work(1)
    trials = [sweep.begin(), sweep.begin()]
    assert sweeps("stop", "stopping", 2) == 0
    assert sweep.run_of(trials[1]) in capsys.readouterr().out
    asked = [sweep.ledger.cancel_requested(sweep.run_of(trial)) for trial in trials]
    assert asked == [False, True] and not sweep.ledger.cancel_requested(sweep.id)
    refused(capsys, "stop", "stopping", 0, said="trial 0 is not under way (succeeded)")
    refused(capsys, "stop", "stopping", 3, said="no trial 3; trials: 0 to 2")
    sweep.move(sweep.id, "cancelled")
    refused(capsys, "stop", "stopping", 1, said="has ended (cancelled)")


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any, said: str, code: int = 2) -> None:
    assert sweeps(*arguments) == code
    assert said in capsys.readouterr().err


def test_a_sweep_without_a_trial_that_succeeded(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = WrittenSweep("hopeless")
    assert sweeps("show", "hopeless") == 0
    refused(capsys, "best", "hopeless", said="has no trial that succeeded")
    refused(capsys, "best", "hopeless", "--trial", 0, said="trials: none yet")
    sweep.end(sweep.begin(), Outcome.FAILED, message="out of memory")
    assert sweeps("show", "hopeless") == 0
    assert "out of memory" in capsys.readouterr().out


def test_an_unknown_sweep_and_a_run_that_is_none(wine: WrittenSweep, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "show", "wine-swep", said="did you mean `wine-sweep`?", code=102)
    trial = wine.run_of(wine.study.trials[0])
    refused(capsys, "show", trial, said="is of kind train of sweep wine-sweep", code=102)


def test_names_are_completed(wine: WrittenSweep) -> None:
    wine.ledger.create_run(id="0123456789ab", name="wine-alone", kind="train", spec="kind: train")
    words = "forgeline sweeps show wine-"
    asked = {"_FORGELINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    code = "from forgeline.cli.app import main; main([])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ) | asked, capture_output=True, text=True, check=False
    )
    assert "wine-sweep" in done.stdout.split() and "wine-alone" not in done.stdout.split()
