"""Whether a run fits this machine at all, and when its turn comes.

A run holds workers * cpus_per_worker of the host's logical CPUs from its start to its end. Waiting runs start by
priority, then by submission time; a small run never overtakes a large one, or the large one would wait for ever.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.errors import SpecError

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources

# Of version 2 and version 1 of control groups.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What a machine or a cluster has.

    Attributes:
        cpus: logical CPUs.
        gpus: visible GPUs.
        memory: bytes.
        place: how messages call it, such as "this machine".
    """

    cpus: float
    gpus: float
    memory: float = math.inf
    place: str = "this machine"

    def check(self, resources: Resources) -> None:
        """Refuse what can never be had.

        Raises:
            SpecError: more CPUs, GPUs or memory than there are, with the number there is.
        """
        cpus = needed_cpus(resources)
        if cpus > self.cpus + 1e-9:
            raise SpecError(
                f"{resources.workers} workers with {resources.cpus_per_worker:g} CPUs each need {cpus:g} CPUs, "
                f"{self.place} has {self.cpus:g}; lower resources.workers or resources.cpus_per_worker "
                "(fractions such as 0.5 are allowed), or declare logical CPUs with FORGELINE_LOCAL_CPUS",
                key="resources.cpus_per_worker",
            )
        gpus = resources.workers * resources.gpus_per_worker
        if gpus > self.gpus + 1e-9:
            raise SpecError(
                f"{resources.workers} workers with {resources.gpus_per_worker:g} GPUs each need {gpus:g} GPUs, "
                f"{self.place} has {self.gpus:g}; lower resources.gpus_per_worker (0 trains on CPUs)",
                key="resources.gpus_per_worker",
            )
        each = resources.memory_per_worker
        if each is not None and resources.workers * each.bytes > self.memory:
            raise SpecError(
                f"{resources.workers} workers with {each} of memory each do not fit: {self.place} has "
                f"{self.memory / 2**30:.1f} GiB; lower resources.workers or resources.memory_per_worker",
                key="resources.memory_per_worker",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A run as the queue sees it.

    Attributes:
        run_id: its identity.
        cpus: what it needs, or holds.
        priority: higher starts first.
        submitted: any time scale, as long as it is the same for all.
        waiting: queued, as opposed to holding its CPUs.
    """

    run_id: str
    cpus: float
    priority: int
    submitted: float
    waiting: bool


def needed_cpus(resources: Resources) -> float:
    """Logical CPUs that a run holds."""
    return float(resources.workers * resources.cpus_per_worker)


def visible_gpus() -> int:
    """GPUs that this process may use, found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    return int(pynvml.nvmlDeviceGetCount())


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or less where a container sets a limit."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for file in _MEMORY_LIMITS:
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdigit() else []
    return min(limits)


def may_start(run_id: str, claims: Sequence[Claim], capacity: float) -> bool:
    """Whether it is this run's turn.

    >>> a = Claim(run_id="a", cpus=2, priority=0, submitted=1, waiting=False)
    >>> b = Claim(run_id="b", cpus=1, priority=0, submitted=2, waiting=True)
    >>> may_start("b", [a, b], capacity=2), may_start("b", [a, b], capacity=3)
    (False, True)
    """
    waiting = sorted((claim for claim in claims if claim.waiting), key=lambda c: (-c.priority, c.submitted, c.run_id))
    if not waiting or waiting[0].run_id != run_id:
        return False
    held = sum(claim.cpus for claim in claims if not claim.waiting)
    # A run that declares more than there is (the setting was lowered meanwhile) still gets its turn, alone.
    return held == 0 or held + waiting[0].cpus <= capacity + 1e-9


@contextmanager
def queue_lock(home: Path) -> Iterator[None]:
    """Held while looking at the queue and taking a place, so that two drivers never take the same CPUs."""
    with (home / "admission.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
