"""Bad sweeps: one clear message that names the key, exit code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeline.cli.app import main

TRAIN = """
kind: train
name: wine
architecture: {name: mlp, hidden: [8]}
data: {name: wine, batch_size: 16}
trainer: {epochs: 2}
"""


def sweep(space: str = "optimizer.lr: {log_uniform: [1e-4, 1e-1]}", rest: str = "", metric: str = "val/loss") -> str:
    return f"""
kind: sweep
name: wine-sweep
train: wine.yaml
space:
  {space}
objective: {{metric: {metric}}}
{rest}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (sweep("optimizer.lrr: {uniform: [0, 1]}"), "space.optimizer.lrr: unknown key; did you mean `lr`?"),
        (sweep("optimizer.lr: {uniform: [-1, 1]}"), "space.optimizer.lr: got -1.0; expected"),
        (sweep("architecture.hidden: {choice: [[8], [0]]}"), "space.architecture.hidden"),
        (sweep("optimizer.lr: {log_uniform: [0, 1]}"), "both ends of a logarithmic range are more than 0"),
        (sweep("optimizer.lr: {log_unifrom: [1e-3, 1]}"), "unknown key; did you mean `log_uniform`?"),
        (sweep("data.batch_size: {choice: [16, 4096]}"), "batch_size 4096 is larger than the training split"),
        (sweep("resources.workers: {choice: [1, 2]}"), "resources.workers is the same for all trials"),
        (sweep(metric="val/acuracy"), "did you mean `val/accuracy`?"),
        (sweep(metric="train/loss"), "trials are compared by what training measures"),
        (sweep(metric="val/rmse"), "objective.metric"),
        (sweep(rest="require: [{metric: val/rmse, at_most: 1}]"), "require.0.metric"),
        (sweep(rest="require: [{metric: val/ece}]"), "give exactly one of at_most and at_least"),
        (sweep(rest="constraints: [optimizer.lrr < 1]"), "constraints.0: 'optimizer.lrr < 1' names optimizer.lrr"),
        (sweep(rest="constraints: ['optimizer.lr > 1']"), "no corner of the space satisfies optimizer.lr > 1"),
        (sweep(rest="search: {first: [{optimizer.lr: 7}]}"), "search.first.0: optimizer.lr: got 7; allowed"),
        (
            sweep(
                "optimizer.name: {choice: {adamw: {optimizer.lr: {uniform: [0, 1]}}, sgd: {}}}\n  "
                "optimizer.lr: {uniform: [0, 1]}"
            ),
            "optimizer.lr is in the space, or brought along by a choice, and by optimizer.lr as well",
        ),
        (
            sweep(rest="constraints: ['optimizer.lr < 0.05']\nsearch: {first: [{optimizer.lr: 0.1}]}"),
            "search.first.0: the point breaks 'optimizer.lr < 0.05'",
        ),
        (sweep(rest="constraints: ['optimizer.lr / 0 < 1']"), "cannot be computed with optimizer.lr"),
        (sweep(rest="search: {algorithm: grid, first: [{optimizer.lr: 0.1}]}"), "search.first is for algorithms"),
        (sweep(rest="resources: {cpus_per_worker: 2}"), "resources.cpus_per_worker 2.0 is not the trials' own"),
        (
            sweep(rest="resources: {workers: 2}").replace(
                "train: wine.yaml",
                "train: {architecture: {name: mlp}, data: {name: wine}, resources: {workers: 4}}",
            ),
            "resources.workers 2 has no room for a trial of 4 workers",
        ),
        (sweep(rest="search: {algorithm: nsga2}"), "nsga2 is for several objectives"),
        (sweep(rest="search: {algorithm: bohb}\nstop: {scheduler: median}"), "bohb has Hyperband"),
        (sweep(rest="search: {algorithm: tpe}\nstop: {scheduler: pbt}"), "set search.algorithm to pbt and leave stop"),
        (sweep(rest="search: {algorithm: pbt}\nstop: {scheduler: asha}"), "pbt copies better trials in place of"),
        (sweep(rest="search: {algorithm: pbt, trials: 1}"), "search.trials 1 is no population"),
        (sweep(rest="search: {algorithm: pbt, interval: 2ep}"), "search.interval: got 2ep; trials train for 2ep"),
        (sweep(rest="search: {algorithm: pbt, interval: 5step}"), "give all three in epochs, or in steps"),
        (sweep(rest="search: {algorithm: pbt, again: [1]}"), "search.again is for trials one by one"),
        (
            sweep("architecture.hidden: {choice: [[8], [16]]}", "search: {algorithm: pbt}"),
            "pbt changes values while a trial trains, and this one stays as it is",
        ),
        (
            sweep("optimizer.betas: {choice: [[0.9, 0.99], [0.8, 0.9]]}", "search: {algorithm: pb2}"),
            "pb2 models numbers and this is a choice",
        ),
        (
            sweep(rest="register: {model: words, retrain: true}").replace(
                "train: wine.yaml", "train: {architecture: {name: gpt}, data: {name: tinyshakespeare}}"
            ),
            "register.retrain: got train+val; the splits of tinyshakespeare cannot be joined",
        ),
        (
            sweep(rest="require: [{metric: 'val/recall[nope]', at_least: 0.1}]"),
            "require.0.metric: val/recall[nope]: there is no class 'nope'",
        ),
        (sweep(metric="'val/recall[nope]'"), "objective.metric: val/recall[nope]: there is no class 'nope'"),
        (
            sweep(rest="search: {algorithm: pbt}").replace(
                "train: wine.yaml", "train: {architecture: {name: mlp}, data: {name: wine}, checkpoint: [1]}"
            ),
            "train.checkpoint",
        ),
        (sweep("data.train_on: {choice: [train, train+val]}"), "data.train_on is `train` for all trials"),
        (
            sweep().replace(
                "train: wine.yaml", "train: {architecture: {name: mlp}, data: {name: wine, train_on: train+val}}"
            ),
            "train.data.train_on is train+val, and trials are compared on val",
        ),
        (sweep(rest="search: {algorithm: bayes}"), "allowed: tpe, random"),
        (sweep(rest="search: {trials: 0}"), "search.trials"),
        (sweep(rest="budget: {wall: 0}"), "budget.wall"),
        (sweep().replace("wine.yaml", "wein.yaml"), "wein.yaml cannot be read: no such file"),
        (sweep().replace("train: wine.yaml", "train: {architecture: {name: mpl}, data: {name: wine}}"), "mlp"),
        (sweep(rest="search: {warm_start: nothing-like-it}"), "search.warm_start"),
    ],
)
def test_it_is_refused_with_the_key(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    (tmp_path / "wine.yaml").write_text(TRAIN, encoding="utf-8")
    file = tmp_path / "sweep.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as leaving:
        main(["run", str(file)])
    told = capsys.readouterr().err
    assert leaving.value.code == 2, told
    assert said in told and "Traceback" not in told
    assert not (tmp_path / "home" / "runs").exists()
