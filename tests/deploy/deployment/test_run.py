"""A deployment as a user has it: `forgeline run`, requests, Ctrl-C, and the same version when it is resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from forgeline.bundle import Bundle
from forgeline_deploy.serving.ingress import listen

pytestmark = pytest.mark.ray

ROW = {"age": 44, "usage": 12.5, "income": None, "plan": "pro"}


def forgeline(*words: object) -> list[str]:
    return [sys.executable, "-m", "forgeline.cli.app", *map(str, words)]


def told(*words: object, home: Path) -> Any:
    command = forgeline(*words, "--format", "json")
    done = subprocess.run(command, env=os.environ | {"FORGELINE_HOME": str(home)}, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_served_until_it_is_interrupted(bundle: Bundle, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    spec = tmp_path / "deployment.yaml"
    spec.write_text(f"{{kind: deployment, name: customers, model: {bundle.folder}, serve: {{port: {port}}}}}\n")
    home, url = tmp_path / "home", f"http://127.0.0.1:{port}"
    run = subprocess.Popen(
        forgeline("run", spec), env=os.environ | {"FORGELINE_HOME": str(home)}, stdout=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 90
        while not answers(url) and run.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        answer = httpx.post(f"{url}/predict", json={"instances": [ROW]}, timeout=30)
        assert answer.status_code == 200 and answer.json()["version"] == bundle.digest[:12]
        assert listening_addresses(run.pid) <= {"127.0.0.1", "::1"}
        [row] = told("deployments", "list", home=home)
        assert (row["url"], row["version"], row["state"]) == (url, bundle.digest[:12], "running")
        assert told("deployments", "show", "customers", home=home)["ready"] is True
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 103, output
    assert f"at {url}" in output and "answers those that it has" in output
    assert not answers(url)


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
