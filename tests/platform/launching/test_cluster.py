"""A run on a real Ray cluster of one node, through its Jobs API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.ray


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(toy_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The Jobs address of a Ray cluster of its own, gone afterwards."""
    port, folder = free_port(), tempfile.mkdtemp(prefix="flc-", dir="/tmp")
    binaries = str(Path(sys.executable).parent)
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [f"{binaries}/ray", "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"]
    command += [f"--port={free_port()}", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    environment = toy_environment | own | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        below = psutil.Process(head.pid).children(recursive=True)
        head.send_signal(signal.SIGTERM)
        head.wait(30)
        _, left = psutil.wait_procs(below, timeout=10)
        for process in left:
            process.kill()


def _wait_for(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/api/version", timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            threading.Event().wait(0.2)
    raise AssertionError("the cluster did not come up")


@pytest.mark.cluster
def test_a_cluster_gives_the_same_result(cluster: str, forgeline: Any, toy_spec: Any, home: Path) -> None:
    done = forgeline("run", toy_spec(steps=4), "--cluster", cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    [folder] = (home / "runs").iterdir()
    shown = json.loads(forgeline("runs", "show", "count", "--format", "json").stdout)
    assert (shown["run"], shown["state"], shown["cluster"]) == (folder.name, "succeeded", cluster)
    assert shown["metrics"] == {"val/loss": 0.25}

    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "forgeline.cli.app",
            "run",
            toy_spec("long", steps=1000, step_s=0.1),
            "--cluster",
            cluster,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line.startswith("epoch") or line == "running\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 103, out + err

    refused = forgeline("run", toy_spec("wide"), "--set", "resources.workers=64", "--cluster", cluster)
    assert refused.returncode != 0
    assert "the cluster has 2" in refused.stdout + refused.stderr


def test_an_address_where_no_cluster_is(forgeline: Any, toy_spec: Any) -> None:
    done = forgeline("run", toy_spec(), "--cluster", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --cluster: no Ray cluster answers")
