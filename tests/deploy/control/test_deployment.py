"""A deployment that rolls a challenger out while its controller, ingress and a replica are killed under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.ledger.ledger import Ledger
from forgeline.registry.models import Lineage, Registry
from forgeline.tracking.tracker import Tracker
from forgeline_deploy.control.plan import plan_of
from forgeline_deploy.monitor.labels import label_files
from forgeline_deploy.monitor.store import WindowFolder, stored_windows
from forgeline_deploy.serving.ingress import listen

pytestmark = pytest.mark.ray

Customers = Callable[[int, int], pd.DataFrame]
SPEC = """\
kind: deployment
name: customers
model: models:/customers@champion
serve: {{port: {port}}}
resources: {{cpus_per_worker: 0.5}}
rollout:
  challenger: models:/customers@challenger
  mode: shadow -> 50% -> 100%
  hold: 1s
  requests: 20
  guard: {{errors: 10%}}
  compare: {{metric: error_rate, worse_by: 0.3, require: no_harm, min_labels: 20}}
monitor:
  window: 1s
  promise: {{false_alarms: 1 per 1h}}
  minimum: 10
  lateness: 0.5s
  silent: 2s
  labels: {{path: {labels}/*.parquet}}
  alert: [{{log: true}}]
  report: none
"""


@dataclass
class Client:
    """Asks again and again; a request whose connection is refused or cut is sent again, as any client does."""

    url: str
    rows: list[dict[str, Any]]
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    again: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def run(self, ended: threading.Event) -> None:
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                row = self.rows[self.asked % len(self.rows)]
                name = f"r{self.asked}"
                self.asked += 1
                self._ask(client, name, row, ended)
                time.sleep(0.01)

    def _ask(self, client: httpx.Client, name: str, row: dict[str, Any], ended: threading.Event) -> None:
        while True:
            try:
                body = {"instances": [{key: value for key, value in row.items() if key != "churned"}]}
                answer = client.post(f"{self.url}/predict", json=body, headers={"X-Request-Id": name})
            except httpx.TransportError:
                # The ingress was killed with the request in its hands.
                self.again += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.answers[answer.json()["version"]] += 1
                self.labels[name] = row["churned"]
            else:
                self.wrong.append(f"{answer.status_code} {answer.text}")
            return


@dataclass
class Home:
    """An installation of its own."""

    folder: Path

    @property
    def registry(self) -> Registry:
        tracker = Tracker(f"sqlite:///{self.folder / 'mlflow.db'}", (self.folder / "artifacts").as_uri())
        return Registry(tracker, self.ledger_url, home=self.folder)

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.folder / 'ledger.db'}"

    def register(self, bundle: Bundle, example: pd.DataFrame, work: Path) -> int:
        registry = self.registry
        save_mlflow_model(bundle.folder, work, example)
        return registry.register(
            name="customers",
            mlflow_model_folder=work,
            run_id=registry._tracker.create_run("tests", "customers"),
            metrics={},
            lineage=Lineage(data_fingerprint="d1", spec="kind: train\n"),
        )

    def entries(self) -> list[dict[str, Any]]:
        ledger = Ledger(self.ledger_url)
        [run] = ledger.list_runs(kind="deployment", limit=1)
        return ledger.journal(run.id)


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle, customers: Customers) -> Home:
    made = Home(tmp_path / "home")
    made.folder.mkdir()
    example = customers(3, 4).drop(columns="churned")
    for number in (1, 2):
        assert made.register(bundle, example, tmp_path / f"model-{number}") == number
    made.registry.promote("customers", 1)
    return made


@pytest.fixture
def served(home: Home, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    spec = tmp_path / "deployment.yaml"
    spec.write_text(SPEC.format(port=port, labels=tmp_path / "labels"))
    command = [sys.executable, "-m", "forgeline.cli.app", "run", str(spec)]
    variables = os.environ | {"FORGELINE_HOME": str(home.folder)}
    run = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: run.poll() is not None or answers(url), 120)
        yield run, url
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(60)
        finally:
            run.kill()


def test_a_challenger_takes_over_while_everything_is_killed(
    served: tuple[subprocess.Popen[str], str], home: Home, customers: Customers, tmp_path: Path
) -> None:
    run, url = served
    client, ended = Client(url, json.loads(customers(7, 200).to_json(orient="records"))), threading.Event()
    asking = threading.Thread(target=client.run, args=(ended,))
    asking.start()
    try:
        home.registry.promote("customers", 2, "challenger")
        wait_for(lambda: "2" in plan_of(home.entries()).up, 60)
        kill(run, "Controller")
        wait_for(lambda: windows(home) >= 2, 60)
        kill(run, "Ingress")
        wait_for(lambda: answers(url), 60)
        seen = windows(home)
        wait_for(lambda: windows(home) >= seen + 4, 60)
        write_labels(tmp_path / "labels", client)
        wait_for(lambda: status(home) == "settled" and set(plan_of(home.entries()).up) == {"2"}, 120)
        kill(run, "ServeReplica:")
        before = client.answers.total()
        wait_for(lambda: client.answers.total() > before + 30, 60)
    finally:
        ended.set()
        asking.join(60)
    assert client.wrong == [] and client.answers.total() == client.asked
    assert client.answers["1"] > 20 and client.answers["2"] > 20
    assert home.registry.version("customers", alias="champion").version == 2
    assert [move.to_version for move in home.registry.history("customers", "champion")] == [1, 2]
    [labels] = label_files(home.entries())
    assert labels.unknown + sum(found.rows for found in labels.by_stream.values()) >= labels.rows
    monitored = httpx.get(f"{url}/monitor.json", timeout=30).json()
    assert monitored["traffic"] == [{"stream": "champion 2", "share": 1.0}]
    assert httpx.get(f"{url}/monitor", timeout=30).text.lower().startswith("<!doctype html>")
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=90)
    assert run.returncode == 103, output
    assert_every_answer_was_counted(home, client)


def assert_every_answer_was_counted(home: Home, client: Client) -> None:
    """But for those that were in the hands of a replica that was killed, within its last second."""
    entries = home.entries()
    folder = WindowFolder(next(home.folder.glob("runs/*/windows")))
    counted: Counter[str] = Counter()
    for stored in stored_windows(entries):
        for stream, part in folder.read(stored)[0].parts.items():
            if stream.role in ("champion", "challenger"):
                counted[stream.version] += part.tally.rows
    assert counted["1"] >= client.answers["1"]
    assert counted["2"] >= client.answers["2"] - 200


def write_labels(folder: Path, client: Client) -> None:
    folder.mkdir()
    known = dict(client.labels)
    table = pd.DataFrame({"request_id": list(known), "label": list(known.values())})
    table.to_parquet(folder / ".labels")
    (folder / ".labels").rename(folder / "labels.parquet")


def windows(home: Home) -> int:
    return len(stored_windows(home.entries()))


def status(home: Home) -> str:
    rollout = plan_of(home.entries()).rollout
    return "" if rollout is None else rollout.status


def kill(run: subprocess.Popen[str], actor: str, how: signal.Signals = signal.SIGKILL) -> None:
    """Kill the process of an actor of the run."""
    for process in psutil.process_iter(["cmdline"]):
        title = " ".join(process.info["cmdline"] or [])
        if title.startswith(f"ray::{actor}") and below(process, run.pid):
            process.send_signal(how)
            return
    raise AssertionError(f"no process of {actor}")


def below(process: psutil.Process, pid: int) -> bool:
    try:
        return pid in [parent.pid for parent in process.parents()]
    except psutil.Error:
        return False


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.2)
