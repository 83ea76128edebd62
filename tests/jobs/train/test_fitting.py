"""One worker's fit, in this process: what is written, and that a stopped run ends as a whole one, bit for bit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline.bundle import Bundle
from forgeline.errors import ForgelineError
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline.tracking.system import SystemSampler
from forgeline_architectures.optimisation.schedules import learning_rate_factor
from forgeline_architectures.tasks.language_modelling import LanguageModellingModule
from forgeline_jobs.data.descriptor import DataSource
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.step_log import NonFiniteLoss, StepLog, StopRequested
from forgeline_jobs.train.callbacks.validation import Validation
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16], "dropout": 0.2},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"lr": 0.01, "schedule": "cosine", "warmup": "10%"},
    "trainer": {"epochs": 3},
}
LEAN = """
import sys
import forgeline_jobs.train.fitting
print(sorted({"matplotlib", "scipy.signal", "torchvision", "transformers"} & set(sys.modules)))
"""
BATCHES = 7  # of 16 samples in an epoch of wine's train split


def _fit(home: Path, run_id: str, *, attempt: int = 1, resume: bool = False, **change: Any) -> Job:
    text = load(WINE, set=change).text
    root = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=None).paths.checkpoints
    folder = checkpoint.newest(root, warn=pytest.fail) if resume else None
    job = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=str(folder) if folder else None)
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


def _points(job: Job) -> list[tuple[int, str, float]]:
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    return [
        (line["step"], name, value)
        for line in lines
        if line["kind"] == "metrics"
        for name, value in line["values"].items()
        if not name.startswith(("system/", "train/samples_per_s"))
    ]


def _events(job: Job) -> list[Mapping[str, Any]]:
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    return [line for line in lines if line["kind"] == "event"]


def _last_state(job: Job) -> dict[str, Any]:
    folder = checkpoint.folders(job.paths.checkpoints)[-1]
    state: dict[str, Any] = torch.load(folder / checkpoint.STATE, weights_only=True)
    return state


@pytest.fixture(scope="module")
def whole(home: Path) -> Job:
    return _fit(home, "whole")


def test_every_step_and_epoch_is_written(whole: Job) -> None:
    points = _points(whole)
    for name in ("train/loss", "train/learning_rate", "train/gradient_norm"):
        assert [step for step, key, _ in points if key == name] == list(range(1, 3 * BATCHES + 1))
    assert [step for step, key, _ in points if key == "val/accuracy"] == [7, 14, 21]


def test_what_a_full_disk_kept_back_is_written_when_training_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, leave = os.write, SystemSampler.__exit__

    def while_training(file: int, content: bytes) -> int:
        if b'"kind":' in content:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content)

    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    def have_room_again(*arguments: Any) -> None:
        # The sampler writes last.
        leave(*arguments)
        monkeypatch.setattr(os, "write", write)

    monkeypatch.setattr(os, "write", while_training)
    monkeypatch.setattr(Validation, "on_validation_start", bug)
    monkeypatch.setattr(SystemSampler, "__exit__", have_room_again)
    with pytest.raises(ZeroDivisionError):
        _fit(home, "full-disk")
    job = Job(spec="", run_id="full-disk", home=str(home), attempt=1, checkpoint=None)
    assert {step for step, _, _ in _points(job)} == set(range(1, BATCHES + 1))


def test_the_best_checkpoint_becomes_the_bundle(whole: Job) -> None:
    bundle = Bundle.load(whole.paths.bundle)
    losses = [value for _, name, value in _points(whole) if name == "val/loss"]
    assert bundle.metrics["val/loss"] == min(losses)
    assert bundle.reference is not None
    assert bundle.data is not None and len(bundle.data.fingerprint) == 64


def test_the_same_seed_gives_the_same_digits(home: Path, whole: Job) -> None:
    assert _points(_fit(home, "again")) == _points(whole)


@pytest.mark.parametrize(
    "stop_at", [3, BATCHES, BATCHES + 1, 2 * BATCHES - 1], ids=["mid-epoch", "epoch end", "epoch start", "last batch"]
)
@pytest.mark.parametrize("ema", [None, 0.9], ids=["plain", "averaged"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, ema: float | None
) -> None:
    name = f"stopped-{stop_at}-{'averaged' if ema else 'plain'}"
    flush = StepLog.flush

    def ask_to_stop(log: StepLog, trainer: Any) -> None:
        if trainer.global_step >= stop_at:
            log.stop_request.touch()
        flush(log, trainer)

    change = {"trainer.ema": ema}
    uninterrupted = _fit(home, f"uninterrupted-{name}", **change)
    with monkeypatch.context() as patch, pytest.raises(StopRequested):
        patch.setattr(StepLog, "flush", ask_to_stop)
        _fit(home, name, **change)
    first = Job(spec="", run_id=name, home=str(home), attempt=1, checkpoint=None)
    second = _fit(home, name, attempt=2, resume=True, **change)

    assert _points(first) + _points(second) == _points(uninterrupted)
    expected, got = _last_state(uninterrupted), _last_state(second)
    for part in ("state_dict", "ema") if ema else ("state_dict",):
        torch.testing.assert_close(got[part], expected[part], rtol=0, atol=0)
    torch.testing.assert_close(
        got["optimizer_states"][0]["state"], expected["optimizer_states"][0]["state"], rtol=0, atol=0
    )
    assert got["callbacks"] == expected["callbacks"]


@pytest.mark.parametrize(
    ("accumulate", "every", "validated"), [(1, 5, [5, 10, 15, 20, 21]), (2, 4, [4, 8, 9]), (3, 3, [3, 6])]
)
def test_a_validation_every_few_steps_is_resumed_exactly(
    home: Path, accumulate: int, every: int, validated: list[int]
) -> None:
    change = {
        "trainer.accumulate": accumulate,
        "trainer.validate_every": f"{every}step",
        "checkpoint.keep_last": 10,
    }
    name = f"steps-{accumulate}"
    job = _fit(home, name, **change)
    steps = [checkpoint.Manifest.read(folder).step for folder in checkpoint.folders(job.paths.checkpoints)]
    assert steps == validated
    expected, state = _points(job), _last_state(job)["state_dict"]
    for folder in checkpoint.folders(job.paths.checkpoints)[1:]:
        checkpoint.shutil.rmtree(folder)
    resumed = _fit(home, name, attempt=2, resume=True, **change)
    assert _points(resumed) == [point for point in expected if point[0] > every]
    torch.testing.assert_close(_last_state(resumed)["state_dict"], state, rtol=0, atol=0)


def test_the_last_model_has_its_own_figures_where_a_checkpoint_is_due_at_its_step(home: Path) -> None:
    change = {"trainer.epochs": None, "trainer.steps": 10, "checkpoint.every": "5step", "checkpoint.select": "last"}
    job = _fit(home, "last", **change)
    measured = {name: value for step, name, value in _points(job) if step == 10 and name.startswith("val/")}
    assert measured and Bundle.load(job.paths.bundle).metrics == pytest.approx(measured)


def test_the_best_model_is_found_among_the_copies(home: Path, tmp_path: Path) -> None:
    change = {"checkpoint.copy_to": str(tmp_path / "safe"), "checkpoint.keep_last": 1, "optimizer.lr": 0.5}
    job = _fit(home, "copied", **change)
    copies = tmp_path / "safe" / "copied"
    assert sorted(path.name for path in copies.iterdir()) == sorted(
        path.name for path in job.paths.checkpoints.iterdir()
    )
    best = Bundle.load(job.paths.bundle).metrics
    checkpoint.shutil.rmtree(job.paths.checkpoints)
    brought = CheckpointCopies(str(tmp_path / "safe"), "copied").newest(job.paths.checkpoints, unless=None, warn=str)
    assert brought is not None
    again = _fit(home, "copied", attempt=2, resume=True, **change)
    assert Bundle.load(again.paths.bundle).metrics == best


def test_every_step_is_made_of_as_many_batches(home: Path) -> None:
    change = {"trainer.accumulate": 2, "trainer.epochs": 2, "trainer.log_every": 1}
    job = _fit(home, "accumulated", **change)
    # 7 batches an epoch: the seventh has no partner.
    assert [step for step, name, _ in _points(job) if name == "train/loss"] == [1, 2, 3, 4, 5, 6]
    [first, *_] = [line for line in _events(job) if line["event"] == "step"]
    assert first["eta_s"] == pytest.approx((6 - first["step"]) * 2 * 16 / first["samples_per_s"])


def test_the_learning_rate_of_a_step_is_the_one_it_used(whole: Job) -> None:
    rates = [value for _, name, value in _points(whole) if name == "train/learning_rate"]
    factor = learning_rate_factor(load(WINE).spec.optimizer, 3 * BATCHES)
    assert rates == pytest.approx([0.01 * factor(step) for step in range(3 * BATCHES)])


@pytest.mark.parametrize("ema", [None, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize(
    "change",
    [{}, {"architecture": {"name": "lstm", "hidden": 8}, "data": {"name": "sunspots", "batch_size": 64}}],
    ids=["mlp", "lstm"],
)
def test_a_model_trained_in_bfloat16_is_handed_over(home: Path, ema: float | None, change: dict[str, Any]) -> None:
    name = f"bf16-{len(change)}-{'averaged' if ema else 'plain'}"
    job = _fit(home, name, **{"trainer.precision": "bf16-true", "trainer.epochs": 1, "trainer.ema": ema, **change})
    model = Bundle.load(job.paths.bundle).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_of_equal_checkpoints_the_one_with_the_lowest_loss_is_chosen(home: Path) -> None:
    job = _fit(home, "tied", **{"trainer.epochs": 12, "checkpoint.metric": "val/accuracy"})
    points = _points(job)
    losses = {step: value for step, name, value in points if name == "val/loss"}
    accuracies = {step: value for step, name, value in points if name == "val/accuracy"}
    best = [losses[step] for step, value in accuracies.items() if value == max(accuracies.values())]
    assert len(best) > 1
    assert Bundle.load(job.paths.bundle).metrics["val/loss"] == min(best)


def test_best_by_another_metric_is_not_the_best_after_a_resume(home: Path) -> None:
    _fit(home, "other-metric", **{"trainer.epochs": 1, "checkpoint.metric": "val/accuracy"})
    change = {"trainer.epochs": 3, "checkpoint.metric": "val/loss"}
    job = _fit(home, "other-metric", attempt=2, resume=True, **change)
    losses = [value for step, name, value in _points(job) if name == "val/loss" and step > BATCHES]
    assert Bundle.load(job.paths.bundle).metrics["val/loss"] == min(losses)


def test_a_metric_that_the_validation_split_does_not_give_is_named(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "few.csv"
    table.write_text("x,y\n" + "\n".join(f"{i},{i * i}.5" for i in range(12)))
    change = {
        "data": {"name": "tabular", "path": str(table), "target": "y", "batch_size": 4},
        "checkpoint.metric": "val/r2",
    }
    with pytest.raises(ForgelineError, match=r"val/r2 cannot be measured.*val/loss.*change checkpoint\.metric"):
        _fit(home, "few", **change)


def test_a_language_model_is_validated_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {i} of a short story" for i in range(200)))
    measured: list[int] = []
    evaluated = LanguageModellingModule.evaluated

    def counted(module: LanguageModellingModule, batch: Any) -> Any:
        measured.append(len(batch["target"]))
        return evaluated(module, batch)

    monkeypatch.setattr(LanguageModellingModule, "evaluated", counted)
    change = {
        "architecture": {"name": "gpt", "layers": 1, "heads": 2, "width": 8},
        "data": {"name": "text", "path": str(text), "context": 16, "batch_size": 8},
        "trainer": {"epochs": 1},
    }
    job = _fit(home, "text", **change)
    assert sum(measured) == Bundle.load(job.paths.bundle).data.summary["samples"]["val"]  # type: ignore[union-attr]
    assert (job.paths.artifacts / "sample.txt").exists()


def test_a_loss_that_is_not_finite_names_step_and_samples(home: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"at step \d+ \(epoch \d+, batch \d+: train samples \d+"):
        _fit(home, "infinite", **{"optimizer.lr": 1e30, "optimizer.name": "sgd", "optimizer.warmup": 0})


def test_data_that_changed_are_refused_at_resume(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("x,y,kind\n" + "\n".join(rows))
    change = {"data": {"name": "tabular", "path": str(table), "target": "kind", "batch_size": 8}}
    _fit(home, "table", **change)
    table.write_text("x,y,kind\n" + "\n".join([*rows[:-1], "9,9,a"]))
    with pytest.raises(Exception, match="the data changed since the checkpoint"):
        _fit(home, "table", attempt=2, resume=True, **change)


def test_a_worker_imports_nothing_that_only_unused_metrics_need() -> None:
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", LEAN], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_a_worker_does_not_go_through_every_sample_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bool] = []
    prepare = DataSource.prepare

    def noted(source: DataSource, config: Any, *, verify: bool = True) -> Any:
        verified.append(verify)
        return prepare(source, config, verify=verify)

    monkeypatch.setattr(DataSource, "prepare", noted)
    _fit(home, "verified", **{"trainer.epochs": 1})
    assert verified == [False]
