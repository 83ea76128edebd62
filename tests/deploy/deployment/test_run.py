"""A deployment as a user has it: `forgeline run`, Ctrl-C, `--resume` though the alias moved, requests, and its end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from forgeline.bundle import Bundle
from forgeline.ledger.ledger import open_ledger
from forgeline.registry.models import Lineage, open_registry
from forgeline.settings import settings
from forgeline.tracking.tracker import Tracker
from forgeline_deploy.commands import DEPLOYMENTS
from forgeline_deploy.serving.ingress import listen

pytestmark = pytest.mark.ray

ROW = {"age": 44, "usage": 12.5, "income": None, "plan": "pro"}


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle, bare_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with two versions of `customers`; the first one is the champion."""
    home = tmp_path / "home"
    monkeypatch.setenv("FORGELINE_HOME", str(home))
    monkeypatch.delenv("FORGELINE_LEDGER_URL", raising=False)
    own = settings()
    tracker = Tracker(own.resolved_tracking_uri, own.artifact_root)
    tracker.check()
    registry = open_registry()
    for folder in (bundle.folder, bare_bundle):
        version = registry.register(
            name="customers",
            mlflow_model_folder=shutil.copytree(folder, tmp_path / f"model-{folder.name}"),
            run_id=tracker.create_run("tests", "customers"),
            metrics={},
            lineage=Lineage(data_fingerprint="d1", spec=""),
        )
        assert Bundle.load(f"models:/customers/{version}").digest == Bundle.load(folder).digest
    registry.promote("customers", 1)
    return home


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "forgeline.cli.app", "run", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def interrupted(run: subprocess.Popen[str]) -> str:
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 103, output
    return output


def wait_until(true: Callable[[], Any], run: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert run.poll() is None and time.monotonic() < until, run.communicate()
        time.sleep(0.1)


def test_a_version_is_pinned_and_served_until_the_end_whatever_the_alias_says(
    home: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    spec, url = tmp_path / "deployment.yaml", f"http://127.0.0.1:{port}"
    spec.write_text(f"{{kind: deployment, name: own, model: models:/customers@champion, serve: {{port: {port}}}}}\n")
    ledger = open_ledger()

    def pinned() -> bool:
        return any(ledger.journal(record.id) for record in ledger.list_runs(kind="deployment"))

    # Interrupted while it comes up: what it pinned is written down.
    run = started(spec)
    try:
        wait_until(pinned, run)
        interrupted(run)
    finally:
        run.kill()
    [record] = ledger.list_runs(kind="deployment")
    open_registry().promote("customers", 2)

    run = started(spec, "--resume", record.id)
    try:
        wait_until(lambda: answers(url), run)
        answer = httpx.post(f"{url}/predict", json={"instances": [ROW]}, timeout=30)
        assert answer.status_code == 200 and answer.json()["version"] == "1"
        [expected] = bundle.predict([ROW])["probability[yes]"]
        assert answer.json()["predictions"][0]["probability[yes]"] == pytest.approx(expected)
        assert listening_addresses(run.pid) <= {"127.0.0.1", "::1"}
        told = deployments(capsys, "list")[0] | deployments(capsys, "show", "own")
        assert (told["url"], told["model"], told["version"], told["state"]) == (url, "customers", "1", "running")
        assert told["ready"] is True and told["digest"] == bundle.digest
        output = interrupted(run)
    finally:
        run.kill()
    assert f"serves customers version 1 at {url}" in output and "answers those that it has" in output
    assert not answers(url)
    assert [one["entry"] for one in ledger.journal(record.id)] == ["pinned", "serving", "drained"]


def deployments(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    DEPLOYMENTS.load().main([*words, "--format", "json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def listening_addresses(pid: int) -> set[str]:
    """Of a process and all below it, those of other sessions included."""
    driver = psutil.Process(pid)
    return {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in [driver, *driver.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
