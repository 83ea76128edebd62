"""How long a run takes and what it costs, at a throughput."""

from __future__ import annotations

from dataclasses import dataclass

from forgeline.spec.envelope import Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Samples a second of all workers together.

    Attributes:
        samples_per_s: of training alone; validations and checkpoints come on top.
        source: where it comes from, in words.
    """

    samples_per_s: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Time and cost of a run.

    Attributes:
        seconds: of training.
        gpu_hours: over all workers; 0 without GPUs.
        cpu_hours: of the CPUs that the run holds.
        cost: in the currency of the prices; None where the GPU has no price.
    """

    seconds: float
    gpu_hours: float
    cpu_hours: float
    cost: float | None


def estimate(*, samples: int, rate: Rate, resources: Resources, price: float | None) -> Estimate:
    """The estimate.

    Args:
        samples: that the run goes through.
        rate: how fast.
        resources: of the run.
        price: of a GPU and hour; None where it is not known.
    """
    seconds = samples / rate.samples_per_s
    hours = seconds / 3600
    gpu_hours = hours * resources.most_workers * resources.gpus_per_worker
    return Estimate(
        seconds=seconds,
        gpu_hours=gpu_hours,
        cpu_hours=hours * resources.most_workers * resources.cpus_per_worker,
        cost=gpu_hours * price if price is not None and gpu_hours else None,
    )
