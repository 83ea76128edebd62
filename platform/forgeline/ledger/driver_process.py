"""Telling whether the process that owns a run still lives.

A process id alone is used again after a while, so the start of the process is kept with it: in seconds since boot,
which, unlike the time of day, does not move when the clock is set.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

# The boot time is read in whole seconds.
_TOLERANCE_S = 2.0


def this_host() -> str:
    """The name under which this host's drivers are written down."""
    return socket.gethostname()


def this_machine() -> str:
    """The boot and the namespace that process ids of this host belong to.

    A host that was started anew, or a container beside this one, has another one under the same name.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def started_s(pid: int) -> float | None:
    """Seconds from boot to the start of a process of this host; None when there is no such process."""
    # Most listings meet no run that goes on here, and do not pay for it.
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int, started: float | None) -> bool:
    """Whether the process that began `started` seconds after boot still runs on this host."""
    now = started_s(pid)
    if now is None:
        return False
    return started is None or abs(now - started) <= _TOLERANCE_S
