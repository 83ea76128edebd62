"""A deployment on stores that can be taken away: brought up by the command line, looked at through its ledger."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from forgeline_deploy.retraining.attempt import WANTED
from forgeline_deploy.serving.ingress import listen

_TRAIN = """\
kind: train
name: tumours
architecture: {name: mlp, hidden: [32]}
data: {name: breast-cancer, batch_size: 32}
trainer: {epochs: 20, seed: 0}
register: {model: tumours, gate: {metric: val/accuracy, at_least: 0.5, beats: champion}}
"""
_DEPLOYMENT = """\
kind: deployment
name: tumours
model: models:/tumours@champion
serve: {port: PORT}
resources: {cpus_per_worker: 0.25}
rollout:
  challenger: models:/tumours@challenger
  mode: shadow -> 100%
  hold: 5s
  requests: 50
  guard: {errors: 10%}
monitor:
  window: 3s
  promise: {false_alarms: 1 per 12h}
  lateness: 1s
  silent: 3s
  bounds: {accuracy: 90%}
  labels: {path: LABELS/*.parquet}
  sample_payloads: 2000
  alert: [{log: true}]
  retrain:
    spec: train.yaml
    at_most: 1 per 7d
    approve: auto
    data: {least: 200, most: 1000, since: 1h}
"""
_COMES_UP_WITHIN_S, _ENDS_WITHIN_S = 180.0, 120.0


@dataclass
class FaultedDeployment:
    """A deployment that is up.

    Attributes:
        url: where it answers.
        rows: samples to ask about.
        truth: the label of each.
        labels: folder that it takes labels from.
    """

    url: str
    rows: Sequence[Mapping[str, Any]]
    truth: Sequence[str]
    labels: Path
    home: Path
    ledger: Ledger
    run: subprocess.Popen[bytes]

    @cached_property
    def record(self) -> RunRecord:
        """Its run."""
        [found] = self.ledger.list_runs(kind="deployment", limit=1)
        return found

    @property
    def windows(self) -> Path:
        """Folder of its windows."""
        return self.home / "runs" / self.record.id / "windows"

    def entries(self) -> list[dict[str, Any]]:
        """Its journal; raises LedgerError while the database is away."""
        return self.ledger.journal(self.record.id)

    def retrainings(self) -> int:
        """How many were wanted."""
        return sum(entry.get("entry") == WANTED for entry in self.entries())

    def outcomes(self) -> list[str | None]:
        """How each retraining ended; None of one that goes on."""
        from forgeline.ledger.journal import Journal
        from forgeline_deploy.retraining.retraining import Retrainings

        return [
            None if each.outcome is None else str(each.outcome)
            for each in Retrainings(Journal(self.ledger, self.record)).all
        ]

    def trainings(self) -> int:
        """Trainings in the ledger, the first one among them."""
        return len(self.ledger.list_runs(kind="train", limit=None))

    def own(self, version: str) -> list[dict[str, Any]]:
        """What the model of a version says of each row, asked in this process."""
        import pandas as pd

        from forgeline.bundle import Bundle
        from forgeline_deploy.deployment.pinning import PINNED

        pinned = [entry for entry in self.entries() if entry.get("entry") == PINNED and entry["version"] == version]
        predictions = Bundle.load(Path(pinned[0]["bundle"])).predict(pd.DataFrame(list(self.rows)))
        return [{str(name): value for name, value in row.items()} for row in predictions.to_dict("records")]

    def kill(self, actor: str) -> None:
        """SIGKILL to the process of one of its actors.

        Raises:
            RuntimeError: it has none such.
        """
        for process in psutil.Process(self.run.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(f"ray::{actor}"):
                    process.kill()
                    return
        raise RuntimeError(f"no process of {actor}")

    def stop(self, how: signal.Signals) -> int:
        """End it, and return its exit code."""
        self.run.send_signal(how)
        return self.run.wait(_ENDS_WITHIN_S)


@contextlib.contextmanager
def deployed(folder: Path, *, tracking: str, ledger: str, home: Path) -> Iterator[FaultedDeployment]:
    """Train a model and serve it.

    Args:
        folder: for specifications, labels and the log.
        tracking: URI of MLflow's store.
        ledger: URL of the ledger.
        home: FORGELINE_HOME.

    Raises:
        RuntimeError: it does not come up.
    """
    labels = folder / "labels"
    labels.mkdir()
    variables = {"FORGELINE_HOME": str(home), "FORGELINE_LEDGER_URL": ledger, "MLFLOW_TRACKING_URI": tracking}
    environment = os.environ | variables
    (folder / "train.yaml").write_text(_TRAIN)
    trained = subprocess.run(_command("run", folder / "train.yaml"), env=environment, capture_output=True, check=False)
    if trained.returncode:
        raise RuntimeError(f"the training ended with {trained.returncode}: {trained.stdout.decode()[-2000:]}")
    with listen("127.0.0.1", 0) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    spec, log = folder / "deployment.yaml", folder / "deployment.log"
    spec.write_text(_DEPLOYMENT.replace("PORT", url.rpartition(":")[2]).replace("LABELS", str(labels)))
    with log.open("wb") as out:
        run = subprocess.Popen(_command("run", spec), env=environment, stdout=out, stderr=subprocess.STDOUT)
    rows, truth = _tumours()
    try:
        _wait_for(url, run, log)
        yield FaultedDeployment(url, rows, truth, labels, home, Ledger(ledger), run)
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(_ENDS_WITHIN_S)
        finally:
            run.kill()
            print(log.read_text()[-4000:], flush=True)


def _tumours() -> tuple[list[dict[str, Any]], list[str]]:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    frame = found.data.rename(columns=lambda name: name.replace(" ", "_"))
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    return rows, [str(found.target_names[number]) for number in found.target]


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "forgeline.cli.app", *map(str, words)]


def _wait_for(url: str, run: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _COMES_UP_WITHIN_S
    while time.monotonic() < until and run.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the deployment did not come up: {log.read_text()[-3000:]}")
