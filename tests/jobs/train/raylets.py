"""A Ray cluster on one machine: a head and raylets, each with processes, resources, ports and a folder of its own.

The head has no CPUs: it runs drivers, and no workers.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_UP_S = 120.0
# Where Ray is told to stay on the loopback address, its command refuses further nodes, which work there all the same.
_START = """
import types
from ray.scripts import scripts

scripts.ray_constants = types.SimpleNamespace(**vars(scripts.ray_constants) | {"ENABLE_RAY_CLUSTER": True})
scripts.main()
"""


class RayCluster:
    """While it is entered, a head; raylets come with `add`.

    Args:
        environment: of its processes, and of what they run.

    Attributes:
        address: of its Jobs API.
        environment: of its processes, and of what speaks to it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        binaries = Path(sys.executable).parent
        own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        self.environment = {**environment, **own, "PATH": f"{binaries}:{os.environ['PATH']}"}
        self._port, dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        self._started: list[Raylet] = []
        self._head = ["--head", "--num-cpus=0", f"--port={self._port}", "--dashboard-host=127.0.0.1"]
        self._head += [f"--dashboard-port={dashboard}"]

    def __enter__(self) -> Self:
        self._start(self._head)
        _wait(lambda: _answers(f"{self.address}/api/version"), what="the dashboard")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in reversed(self._started):
            node.kill()

    def add(self, *, cpus: int) -> Raylet:
        """Start a further node."""
        return self._start([f"--address=127.0.0.1:{self._port}", f"--num-cpus={cpus}"])

    def wait_for_jobs(self) -> None:
        """Until the head takes jobs, which is a while after it answers."""
        _wait(lambda: _takes_jobs(self.address, self.environment), what="the head's agent")

    def _start(self, options: list[str]) -> Raylet:
        folder = Path(tempfile.mkdtemp(prefix="flr-", dir="/tmp"))
        command = [
            sys.executable,
            "-c",
            _START,
            "start",
            "--block",
            f"--temp-dir={folder}",
            "--node-ip-address=127.0.0.1",
            *options,
        ]
        with (folder / "start.log").open("w") as log:
            node = Raylet(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log), folder)
        self._started.append(node)
        _wait(lambda: "will now block" in (folder / "start.log").read_text(), what="a node")
        return node


class Raylet:
    """One node.

    Attributes:
        folder: its temporary folder, where it logs.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self.folder = folder

    def runs(self, pid: int) -> bool:
        """Whether a process is one of its own."""
        return any(process.pid == pid for process in psutil.Process(self._process.pid).children(recursive=True))

    def kill(self) -> None:
        """End all of its processes at once, as when a machine is switched off."""
        try:
            below = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            below = []
        self._process.send_signal(signal.SIGKILL)
        for process in below:
            if process.is_running():
                process.kill()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(there: Callable[[], bool], *, what: str) -> None:
    until = time.monotonic() + _UP_S
    while time.monotonic() < until:
        if there():
            return
        threading.Event().wait(0.2)
    raise AssertionError(f"{what} did not come up")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _takes_jobs(address: str, environment: Mapping[str, str]) -> bool:
    command = [str(Path(sys.executable).parent / "ray"), "job", "submit", f"--address={address}", "--", "true"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
