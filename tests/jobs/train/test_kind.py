"""Whole training runs: a real Ray with two workers, a real MLflow store, a real registry, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import forgeline as fl
from forgeline.bundle import Bundle
from forgeline.registry.models import open_registry
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train.kind import TrainKind

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.ray]

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16], "dropout": 0.1},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"lr": 0.01},
    "trainer": {"epochs": 8},
    "resources": {"workers": 2, "cpus_per_worker": 1},
    "register": {"model": "wine", "gate": {"metric": "val/accuracy", "at_least": 0.5, "beats": "champion"}},
}
LONG = {"trainer": {"steps": 1200, "validate_every": "250step"}, "register": None}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "cnn": {
        "architecture": {"name": "test_resnet"},
        "data": {"name": "digits", "batch_size": 128},
        "trainer": {"epochs": 1},
    },
    "lstm": {
        "architecture": {"name": "lstm", "hidden": 8},
        "data": {"name": "sunspots", "batch_size": 16},
        "trainer": {"epochs": 2},
        "strategy": "auto",
    },
    "gpt, shared out": {
        "architecture": {"name": "gpt", "layers": 1, "heads": 2, "width": 16, "context": 32},
        "data": {"name": "tinyshakespeare", "batch_size": 8, "context": 32},
        "trainer": {"steps": 4, "validate_every": "4step"},
        "strategy": {"name": "deepspeed", "zero_stage": 3},
    },
}


@pytest.fixture(scope="module")
def listening() -> set[str]:
    """Addresses that processes started from here listen on, filled in while the run of `wine` trains."""
    return set()


@pytest.fixture(scope="module")
def wine(home: Path, listening: set[str]) -> fl.Run:
    def look(event: Mapping[str, Any]) -> None:
        if event["event"] == "step" and not listening:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    sockets = process.net_connections("inet")
                    listening.update(found.laddr.ip for found in sockets if found.status == psutil.CONN_LISTEN)

    return fl.run(load(WINE), progress=look)


def test_two_workers_train_track_and_register(wine: fl.Run, home: Path) -> None:
    assert wine.state == "succeeded", wine.message
    assert wine.metrics["val/accuracy"] > 0.5
    assert wine.model_version == "wine/1"
    assert wine.result["registered"]["alias"] == "champion"
    assert [attempt.cause for attempt in wine.attempts] == ["first"]
    for rank in (0, 1):
        assert wine.paths.rank_log(attempt=1, rank=rank).exists()


def test_a_local_run_listens_on_loopback_alone(wine: fl.Run, listening: set[str]) -> None:
    assert wine.state == "succeeded"
    assert listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_a_run_starts_from_a_registered_model_and_says_from_which(wine: fl.Run) -> None:
    parts = {"hidden": {"model": f"runs:/{wine.id}"}}
    change: dict[str, Any] = {"fine_tune.pretrained": "models:/wine@champion", "fine_tune.parts": parts}
    change |= {"optimizer.lr": 1e-6, "trainer.epochs": 1}
    tuned = fl.run(load(WINE, set={**change, "register": None, "resources.workers": 1}))
    assert tuned.state == "succeeded", tuned.message
    assert tuned.metrics["val/loss"] == pytest.approx(wine.metrics["val/loss"], abs=1e-3)
    tracked = open_registry()._tracker.get(tuned.id)
    assert tracked.params["fine_tune.pretrained.digest"] == wine.bundle.digest
    assert tracked.params["fine_tune.parts.hidden.digest"] == wine.bundle.digest


def test_the_tracking_store_has_what_a_person_looks_for(wine: fl.Run) -> None:
    tracker = open_registry()._tracker
    tracked = tracker.get(wine.id)
    assert tracked.params["optimizer.lr"] == "0.01"
    assert len(tracked.params["data.fingerprint"]) == 64
    losses = tracker.metric_history(wine.id, "train/loss")
    assert [point.step for point in losses] == list(range(1, 8 * 7 + 1))
    files = {path.name for path in Path(tracked.artifact_uri.removeprefix("file://")).rglob("*") if path.is_file()}
    assert {"spec.yaml", "packages.json", "hardware.json", "MLmodel", "learning-curves.png"} <= files


def test_a_second_version_that_does_not_beat_the_champion_stays_a_candidate(wine: fl.Run) -> None:
    run = fl.run(load(WINE, set={"trainer.epochs": 1, "optimizer.lr": 1e-9, "resources.workers": 1}))
    assert run.state == "succeeded", run.message
    assert run.result["registered"]["alias"] is None
    assert any("val/accuracy" in reason for reason in run.result["registered"]["gate"])
    assert open_registry().version("wine", alias="champion").version == 1


def test_the_champion_predicts_in_a_plain_mlflow_process(wine: fl.Run, home: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_wine

    table = load_wine(as_frame=True).data.head(5)
    table.to_csv(tmp_path / "wine.csv", index=False)
    script = (
        "import mlflow, pandas, sys\n"
        "model = mlflow.pyfunc.load_model('models:/wine@champion')\n"
        "print(model.predict(pandas.read_csv(sys.argv[1]))['prediction'].tolist())\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "wine.csv")],
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = Bundle.load("models:/wine@champion").predict(table)["prediction"].tolist()
    assert printed.stdout.strip().splitlines()[-1] == str(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_with_two_workers(family: str) -> None:
    spec = {"kind": "train", "name": family.split(",")[0], "resources": {"workers": 2}, **FAMILIES[family]}
    run = fl.run(load(spec))
    assert run.state == "succeeded", (run.message, run.logs())
    assert run.metrics["val/loss"] > 0
    if spec.get("strategy") == "auto":
        [attempt] = run.attempts
        assert attempt.chosen is not None and attempt.chosen["strategy"] == "ddp"
        tracked = open_registry()._tracker.get(run.id).params
        assert (tracked["strategy.name"], tracked["strategy.taken"]) == ("auto", "ddp")
        assert tracked["strategy.why"].endswith("it fits, and nothing sends less")


def test_a_killed_worker_costs_one_attempt_and_changes_nothing(home: Path) -> None:
    whole = fl.run(load(WINE, set=LONG))
    run = fl.run(load(WINE, set={**LONG, "retry": {"node_lost": 1}}), detach=True)
    _once_at_step(run, 400, lambda: _workers(run)[1].send_signal(signal.SIGKILL))
    assert run.wait(timeout=300) == "succeeded", run.message
    assert [attempt.cause for attempt in run.attempts] == ["first", "node_lost"]
    _assert_same_weights(run, whole)
    _assert_same_series(run, whole)


def test_a_run_whose_every_process_is_killed_ends_as_failed_and_can_be_resumed(home: Path) -> None:
    single = {**LONG, "resources.workers": 1}
    whole = fl.run(load(WINE, set=single))
    run = fl.run(load(WINE, set=single), detach=True)
    _once_at_step(run, 400, lambda: _kill_everything(run))
    assert run.wait(timeout=60) == "failed"
    assert run.reason == "platform_error"
    again = fl.run(load(WINE, set=single), resume=run.id)
    assert (again.id, again.state) == (run.id, "succeeded")
    assert [attempt.cause for attempt in again.attempts] == ["first", "resume"]
    _assert_same_weights(again, whole)
    _assert_same_series(again, whole)


def test_a_loss_that_is_not_finite_ends_the_run_and_says_where() -> None:
    run = fl.run(load(WINE, set={"optimizer.name": "sgd", "optimizer.lr": 1e30, "resources.workers": 1}))
    assert (run.state, run.reason) == ("failed", "non_finite_loss")
    assert run.message is not None and "at step" in run.message
    assert "NonFiniteLoss" in "\n".join(run.logs())


@pytest.mark.parametrize(
    ("change", "key", "parts"),
    [
        ({"data.batch_size": 500}, "data.batch_size", ["500", "at most"]),
        (
            {"data.batch_size": 2, "resources.workers": 2, "architecture.norm": "batch"},
            "data.batch_size",
            ["got 2", "1 for each worker", "at least 4, or lower resources.workers"],
        ),
        (
            {
                "data": {"name": "digit-graphs", "batch_size": 1},
                "architecture": {"name": "mpnn", "hidden": 4},
                "register": None,
            },
            "data.batch_size",
            ["got 1", "mpnn normalises", "at least 2"],
        ),
        ({"architecture": {"name": "lstm"}}, "architecture", ["lstm", "series", "numeric"]),
        ({"architecture": {"name": "gpt"}}, "architecture", ["gpt", "language_modelling"]),
        ({"checkpoint.metric": "val/acuracy"}, "checkpoint.metric", ["val/acuracy", "accuracy"]),
        ({"trainer.accumulate": 8}, "trainer.accumulate", ["got 8", "7 batches", "at most 7"]),
        ({"checkpoint.metric": "val/f1[clas_1]"}, "checkpoint.metric", ["clas_1", "`class_1`"]),
        (
            {"data": {"name": "diabetes", "batch_size": 16}, "trainer.label_smoothing": 0.1, "register": None},
            "trainer.label_smoothing",
            ["0.1", "regression"],
        ),
        ({"register.gate.metric": "val/rmse"}, "register.gate.metric", ["val/rmse"]),
        ({"register.gate.metric": "test/accuracy"}, "register.gate.metric", ["test/accuracy", "validation"]),
    ],
)
def test_what_cannot_work_is_refused_before_ray_starts(change: dict[str, Any], key: str, parts: list[str]) -> None:
    loaded = load(WINE, set={"resources.workers": 1, **change})
    with pytest.raises(fl.ForgelineError) as caught:
        TrainKind().check(loaded.spec)
    assert caught.value.exit_code == 2
    assert getattr(caught.value, "key", None) == key
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture.norm": "layer"},
        {"architecture.norm": "batch", "data.batch_size": 4},
        {"architecture.norm": "none"},
    ],
)
def test_a_worker_may_have_one_sample_where_none_is_normalised_over_others(change: dict[str, Any]) -> None:
    assert TrainKind().check(load(WINE, set={"resources.workers": 2, "data.batch_size": 2, **change}).spec)


def test_the_check_tells_what_the_data_hold() -> None:
    found = TrainKind().check(load(WINE, set={"resources.workers": 1}).spec)
    assert (found["task"], found["samples"]["train"] > 100, len(found["classes"])) == ("classification", True, 3)
    assert len(found["columns"]["numeric"]) == 13


def _once_at_step(run: fl.Run, step: int, act: Callable[[], object], *, within_s: float = 180) -> None:
    """Act once the run has taken so many steps; polling, since that happens in another process."""
    reader = SpoolReader(run.paths.spool(attempt=1, rank=0))
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if any(line["kind"] == "metrics" and line["step"] >= step for line in reader.read_new()):
            act()
            return
        time.sleep(0.05)
    raise AssertionError(f"{run} did not reach step {step} within {within_s} s: {run.message}")


def _processes(run: fl.Run) -> list[psutil.Process]:
    driver = psutil.Process(run.record.driver_pid)
    return [driver, *driver.children(recursive=True)]


def _workers(run: fl.Run) -> list[psutil.Process]:
    """The training processes: they have their rank's log open."""
    found = []
    for process in _processes(run):
        try:
            target = os.readlink(f"/proc/{process.pid}/fd/1")
        except OSError:
            continue
        if Path(target).name.startswith("rank"):
            found.append((target, process))
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


def _kill_everything(run: fl.Run) -> None:
    for process in _processes(run):
        process.kill()


def _assert_same_weights(run: fl.Run, other: fl.Run) -> None:
    torch.testing.assert_close(run.bundle.model.state_dict(), other.bundle.model.state_dict(), rtol=0, atol=0)


def _assert_same_series(run: fl.Run, other: fl.Run) -> None:
    """Each step once and in order in the tracking store, whatever was done again; and one end."""
    tracker = open_registry()._tracker
    for key in ("train/loss", "train/learning_rate", "val/loss"):
        series, wanted = (
            [(point.step, point.value) for point in tracker.client.get_metric_history(one.id, key)]
            for one in (run, other)
        )
        assert series == wanted
    assert [step for step, _ in series] == sorted({step for step, _ in series})
    assert tracker.get(run.id).status == "FINISHED"
