"""From a spec's `strategy`, `resources` and `precision` to Lightning's Trainer arguments."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Strategy
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.strategies.config import DeepSpeedConfig, FSDPConfig

if TYPE_CHECKING:
    import torch

    from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
    from forgeline_jobs.train.strategies.plan import Plan

# Long enough for a slow start of one worker, short enough that a lost peer is noticed the same hour.
PROCESS_GROUP_TIMEOUT = timedelta(minutes=30)


def trainer_arguments(
    spec: TrainSpec, *, plan: Plan, writer: CheckpointWriter, automatic: bool = True
) -> dict[str, Any]:
    """Arguments `strategy`, `accelerator`, `devices`, `plugins` and `precision` of `lightning.pytorch.Trainer`.

    Args:
        spec: of the run.
        plan: what the family knows of its models.
        writer: of this worker's checkpoints.
        automatic: whether Lightning steps the optimiser; a module that steps several uses a part of the parameters in
            each of its backward passes.
    """
    gpu = spec.resources.gpus_per_worker > 0
    accelerator = {"accelerator": "gpu" if gpu else "cpu", "devices": 1}
    if spec.workers == 1 and not spec.strategy.shards:
        from forgeline_jobs.train.strategies.saving import TakenIO

        taken = TakenIO(writer)
        strategy: Strategy = SingleDeviceStrategy(device="cuda:0" if gpu else "cpu", checkpoint_io=taken)
        return {"strategy": strategy, "precision": spec.trainer.precision, **accelerator}
    # In here, since they import Lightning and would do so before its lean import.
    from forgeline_jobs.train.rendezvous import open_process_group
    from forgeline_jobs.train.strategies.environment import WorkerEnvironment, own_device

    backend, device = "nccl" if gpu else "gloo", own_device(gpu=gpu)
    open_process_group(backend, PROCESS_GROUP_TIMEOUT)
    common: dict[str, Any] = {"device": device, "backend": backend, "timeout": PROCESS_GROUP_TIMEOUT}
    plugins: list[Any] = [WorkerEnvironment()]
    if isinstance(spec.strategy, DeepSpeedConfig):
        from forgeline_jobs.train.strategies.zero import ZeROPrecision, ZeROStrategy

        strategy = ZeROStrategy(spec.strategy, writer=writer, **common)
        return {"strategy": strategy, "plugins": [*plugins, ZeROPrecision(spec.trainer.precision)], **accelerator}
    if isinstance(spec.strategy, FSDPConfig):
        from forgeline_jobs.train.strategies.fsdp import FSDPStrategy

        half = spec.trainer.precision == "bf16-mixed"
        workers, sharing = spec.workers, spec.strategy.tensor_parallel
        strategy = FSDPStrategy(workers=workers, tensor_parallel=sharing, plan=plan, half=half, writer=writer, **common)
    else:
        strategy = _ddp(find_unused=not automatic, writer=writer, **common)
    return {"strategy": strategy, "plugins": plugins, "precision": spec.trainer.precision, **accelerator}


def _ddp(
    *, device: torch.device, backend: str, timeout: timedelta, find_unused: bool, writer: CheckpointWriter
) -> Strategy:
    from forgeline_jobs.train.strategies.ddp import DDPStrategy
    from forgeline_jobs.train.strategies.saving import TakenIO

    return DDPStrategy(
        device=device,
        checkpoint_io=TakenIO(writer),
        process_group_backend=backend,
        timeout=timeout,
        # Frozen parameters take no gradient and are not handed to DDP: with one optimiser none is ever unused.
        find_unused_parameters=find_unused,
        gradient_as_bucket_view=True,
        static_graph=False,
    )
