"""Whether a run fits this machine at all, and when its turn comes.

A run holds workers * cpus_per_worker of the host's logical CPUs, its memory and its GPUs from its start to its end.
Waiting runs start by priority, then by submission time; a small run never overtakes a large one, or the large one would
wait for ever. A GPU belongs to one run, unless runs need less than one each and fit on it together.
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

    def check(self, resources: Resources, counts: Sequence[int]) -> None:
        """Refuse what can never be had.

        Args:
            resources: that are asked for.
            counts: numbers of workers that the job can have, fewest first.

        Raises:
            SpecError: more CPUs, GPUs or memory than there are, with the number there is.
        """
        asked, resources = resources, resources.with_workers(counts[0])
        workers = f"resources.workers {counts[0]}"
        if counts[0] != asked.fewest_workers:
            workers += f" (the fewest of {asked.workers} that the job can have)"
        cpus = needed_cpus(resources)
        if cpus > self.cpus + 1e-9:
            raise SpecError(
                f"{workers} with {resources.cpus_per_worker:g} CPUs each needs {cpus:g}, "
                f"{self.place} has {self.cpus:g} CPUs; lower resources.workers or resources.cpus_per_worker "
                "(fractions such as 0.5 are allowed), or declare logical CPUs with FORGELINE_LOCAL_CPUS",
                key="resources.cpus_per_worker",
            )
        gpus = needed_gpus(resources)
        if gpus > self.gpus + 1e-9:
            raise SpecError(
                f"{workers} with {resources.gpus_per_worker:g} GPUs each needs {gpus:g}, "
                f"{self.place} has {self.gpus:g} GPUs; lower resources.gpus_per_worker (0 trains on CPUs)",
                key="resources.gpus_per_worker",
            )
        if needed_memory(resources) > self.memory:
            each = resources.memory_per_worker
            raise SpecError(
                f"{workers} with {each} of memory each does not fit: {self.place} has "
                f"{self.memory / 2**30:.1f} GiB; lower resources.workers or resources.memory_per_worker",
                key="resources.memory_per_worker",
            )

    def fitted(self, resources: Resources, counts: Sequence[int]) -> Resources:
        """The same with a certain number of workers: as many as can ever be had, the fewest at least.

        Args:
            resources: that are asked for.
            counts: numbers of workers that the job can have, fewest first.
        """
        for count in reversed(counts[1:]):
            try:
                self.check(resources, [count])
            except SpecError:
                continue
            return resources.with_workers(count)
        return resources.with_workers(counts[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A run as the queue sees it.

    Attributes:
        run_id: its identity.
        cpus: logical CPUs that it needs, or holds.
        gpus: GPUs that it needs, or holds; less than 1 is a share of one.
        memory: bytes that it needs, or holds.
        devices: the GPUs that it holds.
        priority: higher starts first.
        submitted: any time scale, as long as it is the same for all.
        waiting: queued, as opposed to holding its CPUs.
    """

    run_id: str
    cpus: float
    gpus: float = 0.0
    memory: float = 0.0
    devices: Sequence[str] = ()
    priority: int
    submitted: float
    waiting: bool


def needed_cpus(resources: Resources) -> float:
    """Logical CPUs that a run holds."""
    return float(resources.most_workers * resources.cpus_per_worker)


def needed_gpus(resources: Resources) -> float:
    """GPUs that a run holds: whole ones, or a share of one when all its workers fit on it."""
    each = resources.gpus_per_worker
    total = float(resources.most_workers * each)
    if total < 1 or each >= 1:
        return total
    workers_on_one = math.floor(1 / each + 1e-9)
    return float(math.ceil(resources.most_workers / workers_on_one))


def needed_memory(resources: Resources) -> float:
    """Bytes that are reserved for a run."""
    each = resources.memory_per_worker
    return 0.0 if each is None else float(resources.most_workers * each.bytes)


def gpu_devices() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]


def visible_gpus() -> int:
    """How many GPUs this process may use."""
    return len(gpu_devices())


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


def may_start(
    run_id: str, claims: Sequence[Claim], capacity: Capacity, devices: Sequence[str] = ()
) -> Sequence[str] | None:
    """The GPUs that this run gets if it is its turn (an empty list for a run that needs none); None while it waits.

    >>> a = Claim(run_id="a", cpus=2, priority=0, submitted=1, waiting=False)
    >>> b = Claim(run_id="b", cpus=1, priority=0, submitted=2, waiting=True)
    >>> may_start("b", [a, b], Capacity(cpus=2, gpus=0)), may_start("b", [a, b], Capacity(cpus=3, gpus=0))
    (None, [])

    Args:
        capacity: CPUs and memory of this host.
        devices: the GPUs to choose from.
    """
    waiting = sorted((claim for claim in claims if claim.waiting), key=lambda c: (-c.priority, c.submitted, c.run_id))
    if not waiting or waiting[0].run_id != run_id:
        return None
    own, holding = waiting[0], [claim for claim in claims if not claim.waiting]
    chosen = _choose(own.gpus, holding, devices)
    if not holding:
        # A run that declares more than there is (a setting was lowered meanwhile) still gets its turn, alone.
        return devices if chosen is None else chosen
    cpus = sum(claim.cpus for claim in holding) + own.cpus
    memory = sum(claim.memory for claim in holding) + own.memory
    return chosen if cpus <= capacity.cpus + 1e-9 and memory <= capacity.memory else None


def _choose(needed: float, holding: Sequence[Claim], devices: Sequence[str]) -> list[str] | None:
    load = dict.fromkeys(devices, 0.0)
    for claim in holding:
        for device in claim.devices:
            load[device] = load.get(device, 0.0) + min(1.0, claim.gpus)
    if 0 < needed < 1:
        # The fullest with room: whole ones are left for those that need whole ones.
        roomy = [device for device in devices if load[device] + needed <= 1 + 1e-9]
        return sorted(roomy, key=lambda device: -load[device])[:1] or None
    free, count = [device for device in devices if not load[device]], math.ceil(needed)
    return free[:count] if len(free) >= count else None


@contextmanager
def queue_lock(home: Path) -> Iterator[None]:
    """Held while looking at the queue and taking a place, so that two drivers never take the same CPUs."""
    with (home / "admission.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
