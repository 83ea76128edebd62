"""GPUs and the memory that they have; own ones are declared by FORGELINE_GPU_MEMORY."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from forgeline.errors import UsageError
from forgeline.launching.admission import gpu_devices, machine_memory
from forgeline.settings import Settings
from forgeline.spec.envelope import Resources
from forgeline.suggestions import did_you_mean

MIB = 2**20

USABLE = 0.9
"""Share of the memory that is planned with: CUDA's context, workspace of kernels and gaps between tensors take some."""

# MiB that nvidia-smi reports as total, with error correction on.
_KNOWN_MIB: Mapping[str, int] = {
    "T4": 15_360,
    "V100-16GB": 16_384,
    "A10": 23_028,
    "L4": 23_034,
    "V100-32GB": 32_768,
    "A100-40GB": 40_960,
    "L40S": 46_068,
    "H100": 81_559,
    "A100-80GB": 81_920,
    "H200": 143_771,
    "B200": 183_359,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Where a worker computes.

    Attributes:
        name: of the GPU, or `CPU`.
        memory: bytes of it for one worker.
    """

    name: str
    memory: int

    @property
    def usable(self) -> int:
        """Bytes that a plan may use."""
        return int(self.memory * USABLE)

    @property
    def in_words(self) -> str:
        """With its memory."""
        return f"{self.name}, {size_in_words(self.memory)} for a worker, of which {size_in_words(self.usable)} are used"

    def shared_by(self, workers: int) -> Device:
        """A worker's part, where several share it."""
        return Device(name=self.name, memory=self.memory // workers)


def known_gpus(settings: Settings) -> list[Device]:
    """The GPUs of the table and the declared ones, which come before those of the same name, by their memory."""
    memory = {name: mib * MIB for name, mib in _KNOWN_MIB.items()}
    memory |= {name: size.bytes for name, size in settings.gpu_memory.items()}
    return sorted((Device(name=name, memory=size) for name, size in memory.items()), key=lambda gpu: gpu.memory)


def gpu_named(name: str, settings: Settings) -> Device:
    """One of them.

    Raises:
        UsageError: there is none of this name.
    """
    known = {gpu.name.lower(): gpu for gpu in known_gpus(settings)}
    if name.lower() not in known:
        names = [gpu.name for gpu in known.values()]
        raise UsageError(
            f"--gpu: got {name!r}; {did_you_mean(name, names)}; others are declared as "
            f'FORGELINE_GPU_MEMORY=\'{{"NAME": "24GiB"}}\''
        )
    return known[name.lower()]


def gpu_here() -> Device | None:
    """The smallest GPU that this process may use; None where there is none. torch is not asked."""
    visible = gpu_devices()
    if not visible:
        return None
    import pynvml  # type: ignore[import-untyped]

    pynvml.nvmlInit()
    found = []
    for name in visible:
        handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(name)
        )
        model = pynvml.nvmlDeviceGetName(handle)
        found.append(Device(name=_short(str(model)), memory=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)))
    return min(found, key=lambda gpu: gpu.memory)


def device_of(resources: Resources, workers: int) -> Device | None:
    """Where a worker of this machine computes: on its GPU, or on its part of the machine's memory.

    Args:
        resources: of the run.
        workers: of them on this machine.

    Returns:
        None where GPUs are asked for and none is here.
    """
    each = resources.gpus_per_worker
    if each:
        gpu = gpu_here()
        return gpu if gpu is None or each >= 1 else gpu.shared_by(math.floor(1 / each + 1e-9))
    if resources.memory_per_worker is not None:
        return Device(name="CPU", memory=resources.memory_per_worker.bytes)
    return Device(name="CPU", memory=machine_memory()).shared_by(workers)


def _short(model: str) -> str:
    """The name that prices have for a model: `NVIDIA H100 80GB HBM3` is an H100."""
    words = {word.lower() for word in model.replace("-", " ").split()}
    return next((name for name in _KNOWN_MIB if set(name.lower().split("-")) <= words), model)


def size_in_words(size: int | None) -> str:
    """Bytes in a column.

    >>> size_in_words(16 * 2**30), size_in_words(1536), size_in_words(0), size_in_words(None)
    ('16.0 GiB', '1.5 KiB', '', '')
    """
    if not size:
        return ""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
