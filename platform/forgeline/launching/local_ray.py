"""Ray on this host for one run: quiet, closed to the network, gone when the run is.

- Every process listens on 127.0.0.1 only.
- Ray ties its daemons to the thread that started them (PR_SET_PDEATHSIG): `start` belongs in the main thread.
- A daemon that dies leaves its workers behind. They are given to this process (PR_SET_CHILD_SUBREAPER), so that `stop`
  and `kill` find them too. What a killed driver leaves behind (Ray's agents notice it minutes later, if at all) is
  found by its session id, which is the driver's process id: `end_left_behind`.
- Unix sockets have at most 107 characters of path, so the session lives in a short folder under /tmp.
- `OMP_NUM_THREADS` is set before Ray starts since workers inherit the daemons' environment; left alone, several
  workers on few cores were seen to slow each other down a hundredfold.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from forgeline.launching.admission import machine_memory

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources

_OBJECT_STORE_BYTES = 256 * 2**20
_SHUTDOWN_S = 5.0
_ROUNDS = 3
_PR_SET_CHILD_SUBREAPER = 36
# Ray gives its own daemons 30 seconds to come up, which cannot be set; a busy host takes longer now and then.
_STARTS = 3
_SLOW_START = "timed out during startup"
_FOLDER = re.compile(r"fl-(\d+)-\w+")

ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's name for: this host's address is the loopback one, for its daemons as well. (It turns an explicit
    # 127.0.0.1 into an outside address otherwise.)
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # Other users of this host must not get in through the loopback interface.
    "RAY_AUTH_MODE": "token",
    # Without a GPU asked for, Ray would otherwise announce a change of its defaults in every worker.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_enable_metrics_collection": "0",
    # Ray gives its workers the lowest priority but five. Whatever wakes up then takes a core away in the middle of a
    # parallel loop, and the other cores wait: a plain loop has the usual priority.
    "RAY_worker_niceness": "0",
    # One host is not announced to be taken away; the watcher would be a process that wakes a hundred times a second.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_DEDUP_LOGS": "0",
}


class LocalRay:
    """The local Ray of one run; `stop` may be called at any time, more than once."""

    def __init__(self, *, cpus: float) -> None:
        self._cpus = cpus
        self._folder: Path | None = None

    @property
    def started(self) -> bool:
        return self._folder is not None

    def start(self, resources: Resources, gpus: Sequence[str] = ()) -> None:
        """Start Ray and connect to it; call it from the main thread.

        Args:
            resources: of the run, for the threads that numeric libraries use in one worker.
            gpus: that the run holds, as in CUDA_VISIBLE_DEVICES; its workers get no others.
        """
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.environ.update(ENVIRONMENT)
        os.environ["OMP_NUM_THREADS"] = str(max(1, int(resources.cpus_per_worker)))
        os.environ.pop("RAY_ADDRESS", None)
        os.environ["RAY_AUTH_TOKEN"] = _token()
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        remove_dead_sessions()
        for left in reversed(range(_STARTS)):
            try:
                return self._init(len(gpus))
            except Exception as error:
                self.stop()
                if not left or _SLOW_START not in str(error):
                    raise

    def _init(self, gpus: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"fl-{os.getpid()}-", dir="/tmp"))
        import ray

        ray.init(
            address="local",
            num_cpus=math.ceil(self._cpus),
            num_gpus=gpus,
            # What admission held the run against; Ray by itself offers what is free at the moment, and would wait.
            _memory=machine_memory(),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(self._folder),
        )
        global _raylet
        _raylet = _find_raylet()

    def stop(self) -> None:
        """Disconnect, and see to it that no process and no file of Ray is left."""
        if self._folder is None:
            return
        processes = psutil.Process().children(recursive=True)
        if raylet_died():
            _kill(processes)
        else:
            import ray

            ray.shutdown()
        global _raylet
        _raylet = None
        _, left = psutil.wait_procs(processes, timeout=_SHUTDOWN_S)
        _kill(left)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def kill(self) -> None:
        """End the workers without asking, so that whoever waits for them gets an error; `stop` is still due."""
        below = psutil.Process().children(recursive=True)
        _kill([process for process in below if _is_worker(process)])


@cache
def _token() -> str:
    """A secret of this process alone, whose Ray is that of one run; Ray would make one for all, in a file outside of
    FORGELINE_HOME. It stays when Ray is started again: Ray reads it once in a process."""
    return secrets.token_hex(32)


_raylet: psutil.Process | None = None
"""Of this process, which has one Ray at most."""


def raylet_died() -> bool:
    """Whether a raylet that this process started has died.

    Ray itself finds out after 15 seconds, and then ends the process; so does disconnecting from it.
    """
    return _raylet is not None and not _lives(_raylet)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _id_lives(pid: int) -> bool:
    try:
        return _lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _find_raylet() -> psutil.Process | None:
    return next((child for child in psutil.Process().children() if child.name() == "raylet"), None)


def _is_worker(process: psutil.Process) -> bool:
    try:
        name = process.name()
    except psutil.NoSuchProcess:
        return False
    return name.startswith("ray::") and not name.endswith("Agent")


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def end_left_behind(driver_pid: int) -> None:
    """Kill all processes of a driver that is dead and that led a session, as drivers on this host do."""
    for _ in range(_ROUNDS):  # one that was about to be made when the others were looked for is found in the next
        left = [process for process in psutil.process_iter() if _is_in_session(process, driver_pid)]
        if not left:
            return
        _kill(left)
        psutil.wait_procs(left, timeout=_SHUTDOWN_S)


def _is_in_session(process: psutil.Process, leader: int) -> bool:
    try:
        return os.getsid(process.pid) == leader and process.uids().real == os.getuid() and _lives(process)
    except (psutil.Error, OSError):
        return False


def _is_rays(process: psutil.Process) -> bool:
    try:
        return any(word.startswith("ray::") or "/ray/" in word for word in (process.name(), *process.cmdline()))
    except psutil.Error:
        return False


def remove_dead_sessions(root: Path = Path("/tmp")) -> None:
    """End and delete what killed drivers of this user left behind: processes, and the folders of Ray's sessions."""
    for folder in root.glob("fl-*"):
        match = _FOLDER.fullmatch(folder.name)
        if match is None or _id_lives(int(match[1])):
            continue
        try:
            ours = folder.lstat().st_uid == os.getuid()
        except FileNotFoundError:
            continue
        if ours and not folder.is_symlink():
            # The id may be that of somebody's shell by now, whose session holds other things than Ray.
            _kill([one for one in psutil.process_iter() if _is_in_session(one, int(match[1])) and _is_rays(one)])
            shutil.rmtree(folder, ignore_errors=True)
