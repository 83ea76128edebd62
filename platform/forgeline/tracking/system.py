"""Measuring what a training costs its machine: CPU, memory, GPU, by a thread that wakes every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from forgeline.tracking.spool import Spool

_GIB = 1 << 30
_FIRST_S = 1.0


class SystemSampler:
    """Writes `system/*` metrics to a spool while it is entered, and once more when it is left.

    Args:
        spool: where to write.
        step: tells the optimizer step, which the values are written under.
        interval_s: seconds between samples; the first comes after one second, so that a short run has one too.
    """

    def __init__(self, spool: Spool, *, step: Callable[[], int], interval_s: float = 10.0) -> None:
        self._spool = spool
        self._step = step
        self._interval_s = interval_s
        self._meter = Meter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._write()
        self._meter.close()

    def _run(self) -> None:
        pause = min(_FIRST_S, self._interval_s)
        while not self._stop.wait(pause):
            self._write()
            pause = self._interval_s

    def _write(self) -> None:
        self._spool.metrics(self._step(), self._meter.read())


class Meter:
    """Reads this machine's and this process tree's load; each reading covers the time since the one before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        # The first reading of a CPU share has nothing to compare with.
        psutil.cpu_percent()
        self._nvml, self._gpus = _open_gpus()

    def read(self) -> dict[str, float]:
        """Values by metric name. CPU is the share of all CPUs of the machine, in percent."""
        memory = psutil.virtual_memory()
        values = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_percent": memory.percent,
            "system/process_memory_gib": self._tree_memory() / _GIB,
        }
        for number, gpu in enumerate(self._gpus):
            values |= self._gpu(number, gpu)
        return values

    def close(self) -> None:
        """Let go of the GPU driver's library."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml, self._gpus = None, []

    def _tree_memory(self) -> int:
        total = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                # It ended between the two looks.
                continue
        return total

    def _gpu(self, number: int, gpu: Any) -> dict[str, float]:
        assert self._nvml is not None
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(gpu)
            busy = self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu
        except self._nvml.NVMLError:
            # Some GPUs (slices of one among them) do not tell.
            return {}
        return {
            f"system/gpu{number}_percent": float(busy),
            f"system/gpu{number}_memory_gib": memory.used / _GIB,
        }


def _open_gpus() -> tuple[Any, list[Any]]:
    """The library and the machine's GPUs; (None, []) where there is no driver."""
    import pynvml  # type: ignore[import-untyped]  # NVIDIA ships no types

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
    except pynvml.NVMLError:
        return None, []
