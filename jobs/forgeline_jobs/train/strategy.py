"""From a spec's `strategy`, `resources` and `precision` to Lightning's Trainer arguments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Strategy
from forgeline_jobs.train.spec import TrainSpec

# Long enough for a slow start of one worker, short enough that a lost peer is noticed the same hour.
PROCESS_GROUP_TIMEOUT = timedelta(minutes=30)


def trainer_arguments(spec: TrainSpec, *, automatic: bool = True) -> dict[str, Any]:
    """Arguments `strategy`, `accelerator`, `devices`, `plugins` and `precision` of `lightning.pytorch.Trainer`.

    Args:
        spec: of the run.
        automatic: whether Lightning steps the optimiser; a module that steps several uses a part of the parameters in
            each of its backward passes.
    """
    gpu = spec.resources.gpus_per_worker > 0
    return {
        **(_several(gpu=gpu, find_unused=not automatic) if spec.resources.workers > 1 else _single(gpu=gpu)),
        "accelerator": "gpu" if gpu else "cpu",
        "precision": spec.trainer.precision,
    }


def _single(*, gpu: bool) -> dict[str, Any]:
    strategy: Strategy = SingleDeviceStrategy(device="cuda:0" if gpu else "cpu")
    return {"strategy": strategy, "devices": 1}


def _several(*, gpu: bool, find_unused: bool) -> dict[str, Any]:
    # In here, since they import Lightning and would do so before its lean import.
    import ray.train.torch  # noqa: F401  RayDDPStrategy reads its device from there, and does not import it
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from forgeline_jobs.train.rendezvous import open_process_group

    backend = "nccl" if gpu else "gloo"
    open_process_group(backend, PROCESS_GROUP_TIMEOUT)
    strategy: Strategy = RayDDPStrategy(
        process_group_backend=backend,
        timeout=PROCESS_GROUP_TIMEOUT,
        # Frozen parameters take no gradient and are not handed to DDP: with one optimiser none is ever unused.
        find_unused_parameters=find_unused,
        gradient_as_bucket_view=True,
        static_graph=False,
    )
    return {"strategy": strategy, "devices": "auto", "plugins": [RayLightningEnvironment()]}
