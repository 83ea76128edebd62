"""One worker's fit: assembles data, model, callbacks and Lightning's Trainer, and hands over the trained model."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from forgeline import metrics, plugins
from forgeline.errors import DataError
from forgeline.plugins import ArchitectureDescriptor
from forgeline.spec.loading import load
from forgeline.spec.units import Length
from forgeline.tracking.spool import Spool
from forgeline.tracking.system import SystemSampler
from forgeline_architectures.blocks import compute_twice
from forgeline_architectures.tasks.base import TaskModule
from forgeline_architectures.tasks.lightning_import import Trainer
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.loader import EvalBatches, TrainBatches, eval_loader, train_loader
from forgeline_jobs.train import checkpoint, outcome, transfer
from forgeline_jobs.train.callbacks.checkpoints import Checkpoints, Policy
from forgeline_jobs.train.callbacks.heartbeats import Heartbeats
from forgeline_jobs.train.callbacks.optimizer_settings import OptimizerSettings
from forgeline_jobs.train.callbacks.pieces import Pieces
from forgeline_jobs.train.callbacks.randomness import BatchRandomness
from forgeline_jobs.train.callbacks.step_log import StepLog
from forgeline_jobs.train.callbacks.step_trace import StepTrace
from forgeline_jobs.train.callbacks.validation import Validation
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies, CopyThread
from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.heartbeat import Heart
from forgeline_jobs.train.notices import NOTICES
from forgeline_jobs.train.preparation import module_options, prepare
from forgeline_jobs.train.rehearsal import without_weights
from forgeline_jobs.train.retention import Retention
from forgeline_jobs.train.schedule import Schedule
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.strategies.arguments import trainer_arguments
from forgeline_jobs.train.strategies.plan import FamilyPlan
from forgeline_jobs.train.worker import Job

LOG_EVERY_GPU = 20  # reading a loss from a GPU waits for it; on a CPU it is there already


@dataclass
class _Callbacks:
    log: StepLog
    validation: Validation
    checkpoints: Checkpoints


class Fitting:
    """The fit of one worker.

    Args:
        job: what the worker was told.
        heart: tells the driver how far the worker is.
    """

    def __init__(self, job: Job, *, heart: Heart | None = None) -> None:
        self.heart = heart
        self.job = job
        self.spec = cast(TrainSpec, load(job.spec, stored=job.checkpoint is not None).spec)
        self.rank = int(os.environ.get("RANK", "0"))
        self.reader = self.rank // self.spec.strategy.readers_share  # which share of the samples it reads
        self.readers = self.spec.readers
        self.spool = Spool(job.paths.spool(attempt=job.attempt, rank=0)) if self.rank == 0 else None

    def run(self) -> None:
        """Train to the end (or to a requested stop), then let rank 0 hand over the model."""
        with self.spool or nullcontext():
            _quiet_lightning()
            torch.manual_seed(self.spec.trainer.seed)
            module = self._module()
            with self._writer() as writer:
                self._fit(module, writer)

    def _fit(self, module: TaskModule, writer: CheckpointWriter) -> None:
        callbacks = self._callbacks(writer)
        trainer = self._trainer(callbacks, writer, automatic=module.automatic_optimization)
        resume = None if self.job.checkpoint is None else Path(self.job.checkpoint) / checkpoint.STATE
        with SystemSampler(self.spool, step=lambda: trainer.global_step) if self.spool else nullcontext():
            trainer.fit(
                module,
                train_dataloaders=self.train_loader,
                val_dataloaders=self.val_loader,
                ckpt_path=resume,
                weights_only=True,
            )
        callbacks.checkpoints.finish()
        if self.rank == 0:
            # Lightning leaves the module on the CPU.
            device = trainer.strategy.root_device
            if self.spec.strategy.shards:
                module = self._module()  # whole: of the one that was trained, each worker has a part
            outcome.hand_over(self.job, self.spec, self.data, module, callbacks.checkpoints, device)

    @cached_property
    def data(self) -> PreparedData:
        """The data; a resumed run gets the same as before.

        Raises:
            DataError: they changed since the checkpoint.
        """
        data = prepare(self.spec.data, verify=False)
        if self.resumed is not None and self.resumed.fingerprint != data.fingerprint:
            raise DataError(
                f"the data changed since the checkpoint: fingerprint {data.fingerprint[:12]}, then "
                f"{self.resumed.fingerprint[:12]}; bring the old data back, or start a new run",
                key="data",
            )
        return data

    @cached_property
    def resumed(self) -> checkpoint.Manifest | None:
        """Manifest of the checkpoint that training goes on from."""
        return None if self.job.checkpoint is None else checkpoint.Manifest.read(Path(self.job.checkpoint))

    @cached_property
    def train_loader(self) -> Any:
        loader = train_loader(
            self.data.splits["train"],
            self.spec.data.batch_size,
            rank=self.reader,
            world=self.readers,
            seed=self.spec.trainer.seed,
            workers=self.spec.data.loader_workers,
            pieces=self.spec.pieces,
        )
        if self.resumed is not None:
            cast(TrainBatches, loader.sampler).start_at(self.resumed.epoch, self.resumed.batch)
        return loader

    @cached_property
    def val_loader(self) -> Any:
        return eval_loader(
            self.data.splits["val"],
            self.spec.data.batch_size // self.spec.pieces,
            rank=self.reader,
            world=self.readers,
            even=self.spec.strategy.shards,
        )

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule.of(self.spec.trainer, batches=cast(TrainBatches, self.train_loader.sampler).batches)

    @cached_property
    def _family(self) -> ArchitectureDescriptor:
        name = self.spec.architecture.name
        return cast(ArchitectureDescriptor, plugins.find(plugins.ARCHITECTURES, name, key="architecture.name"))

    @property
    def _plan(self) -> FamilyPlan:
        return FamilyPlan(self._family)

    def _module(self) -> TaskModule:
        options = module_options(self.spec, self.data, total_steps=self.schedule.total_steps)
        # The checkpoint brings the weights; the file that they began from may be gone.
        begun = self.spec.architecture if self.resumed is None else without_weights(self.spec.architecture)
        module = self._family.build_module(
            begun.model_dump(mode="json"), self.data.signature.model_dump(mode="json"), options
        )
        module = cast(TaskModule, module)
        if self.resumed is None:
            source, parts = self.job.pretrained, self.job.parts
        else:
            source, parts = None, {}
        transfer.begin(module, self.spec, self.data, source=source, sources_of_parts=parts)
        if self.spec.trainer.gradient_checkpointing:
            compute_twice(self._plan.blocks(module.model))
        if self.spec.trainer.compile:
            module.compile_model()
        return module

    def _writer(self) -> CheckpointWriter:
        writers = self.spec.workers if self.spec.strategy.shards else 1
        return CheckpointWriter(rank=self.rank, writers=writers, asynchronous=self.spec.checkpoint.asynchronous)

    def _callbacks(self, writer: CheckpointWriter) -> _Callbacks:
        spec, paths = self.spec, self.job.paths
        gpu = spec.resources.gpus_per_worker > 0
        log = StepLog(
            self.spool,
            stop_request=paths.stop_request(attempt=self.job.attempt),
            notice=NOTICES.received,
            total_steps=self.schedule.total_steps,
            steps_per_epoch=self.schedule.steps_per_epoch,
            samples_per_step=spec.data.batch_size * spec.trainer.accumulate,
            every=spec.trainer.log_every or (LOG_EVERY_GPU if gpu else 1),
            describe_batch=cast(TrainBatches, self.train_loader.sampler).describe,
            pieces=spec.pieces,
        )
        task = self.data.signature.task
        counted = cast(EvalBatches, self.val_loader.sampler).counted
        validation = Validation(self.spool, data=self.data, epochs=log.epochs, batches=counted)
        policy = Policy(
            root=paths.checkpoints,
            monitor=spec.monitor,
            higher_is_better=metrics.metric_info(task, spec.monitor).higher_is_better,
            retention=Retention(
                last=spec.checkpoint.keep_last,
                best=spec.checkpoint.keep_best,
                every=self._steps(spec.checkpoint.keep_every),
            ),
            every_steps=self._steps(spec.checkpoint.every),
            pause_at=None if self.job.until is None else self._steps(Length.parse(self.job.until)),
            run_id=self.job.run_id,
            architecture=spec.architecture.model_dump(mode="json"),
            fingerprint=self.data.fingerprint,
            strategy=spec.strategy.name,
            pieces=spec.pieces,
        )
        checkpoints = Checkpoints(
            policy,
            writer=writer,
            spool=self.spool,
            step_log=log,
            validation=validation,
            copies=self._copies(),
        )
        return _Callbacks(log, validation, checkpoints)

    def _copies(self) -> CopyThread | None:
        place, spool = self.spec.checkpoint.copy_to, self.spool
        if place is None or spool is None:
            return None
        copies = CheckpointCopies(place, self.job.run_id)

        def warn(text: str) -> None:
            # A copy that hangs may fail after the end, when the spool is closed.
            with suppress(OSError):
                spool.event("message", text=text, level="warning")

        return CopyThread(copies, self.job.paths.checkpoints, warn)

    def _steps(self, length: Length | None) -> int | None:
        return None if length is None else self.schedule.steps(length)

    def _trainer(self, callbacks: _Callbacks, writer: CheckpointWriter, *, automatic: bool) -> Trainer:
        spec, pieces = self.spec.trainer, self.spec.pieces
        every = spec.validate_every
        by_epoch = every.unit == "ep"
        return Trainer(
            **trainer_arguments(self.spec, plan=self._plan, writer=writer, automatic=automatic),
            max_epochs=spec.epochs if spec.epochs is not None else -1,
            limit_train_batches=self.schedule.batches_per_epoch * pieces,
            max_steps=spec.steps if spec.steps is not None else -1,
            accumulate_grad_batches=spec.accumulate * pieces,
            # A module that steps its own optimisers clips by its own options, and accumulates nothing.
            gradient_clip_val=spec.gradient_clip if automatic else None,
            check_val_every_n_epoch=every.value if by_epoch else None,
            val_check_interval=1.0 if by_epoch else every.value * spec.accumulate * pieces,
            callbacks=[
                *([Heartbeats(self.heart, compiles=spec.compile)] if self.heart is not None else []),
                OptimizerSettings(),
                BatchRandomness(spec.seed, rank=self.reader, pieces=pieces),
                Pieces(pieces),
                *([StepTrace(self.job.paths.attempt(self.job.attempt), self.rank)] if spec.trace else []),
                callbacks.log,
                callbacks.validation,
                callbacks.checkpoints,
            ],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            default_root_dir=self.job.paths.attempt(self.job.attempt),
        )


def _quiet_lightning() -> None:
    """Keep out of the rank's log what Lightning says about itself, or wrongly about us."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated")
    # Which FSDP2 itself calls.
    warnings.filterwarnings("ignore", message=r"`torch.distributed.(all_gather_into|reduce_scatter)_tensor` is deprec")
    # Our loader enters an epoch at any batch, from the position in the checkpoint's manifest.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")
