"""Writes a checkpoint after each validation, every so many steps where asked, and when the run is asked to stop."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from forgeline.errors import ForgelineError
from forgeline.tracking.spool import Spool
from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.step_log import StepLog, StopRequested
from forgeline_jobs.train.callbacks.validation import Validation
from forgeline_jobs.train.checkpoint_copies import CopyThread
from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.retention import Ranking, Retention

LOSS = "val/loss"
COPIED_WITHIN_S, COPIED_WITHIN_STOPPED_S = 300.0, 20.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What to keep.

    Attributes:
        root: folder of the run's checkpoints.
        monitor: metric that `best` means, such as `val/accuracy`.
        higher_is_better: its direction.
        retention: which checkpoints stay.
        every_steps: optimizer steps between checkpoints besides those after a validation; None for none.
        pause_at: optimizer step after which training stops, as if it had been asked to; None for none.
        run_id: the run.
        architecture: name and settings of the model.
        fingerprint: of the data.
        strategy: name of the workers' strategy.
        pieces: that a worker's share of a batch comes in; a checkpoint counts whole batches.
    """

    root: Path
    monitor: str
    higher_is_better: bool
    retention: Retention
    every_steps: int | None
    run_id: str
    architecture: Mapping[str, Any]
    fingerprint: str
    strategy: str = "ddp"
    pieces: int = 1
    pause_at: int | None = None


class Checkpoints(Callback):
    """Has checkpoints written, and keeps those that the policy says.

    Args:
        policy: what to keep, and what the manifest says of the run.
        writer: of this worker.
        spool: rank 0's.
        step_log: knows whether the run is asked to stop.
        validation: knows what was measured last.
        copies: where checkpoints are copied to.

    Attributes:
        ranking: steps of the best checkpoints, by the monitored metric, the better the higher; then by the loss.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        writer: CheckpointWriter,
        spool: Spool | None,
        step_log: StepLog,
        validation: Validation,
        copies: CopyThread | None = None,
    ) -> None:
        self.policy = policy
        self.writer = writer
        self.spool = spool
        self.step_log = step_log
        self.validation = validation
        self.copies = copies
        self.ranking = Ranking(policy.retention.best)
        self._written_at = -1

    @property
    def best(self) -> str:
        """Folder name of the best checkpoint, empty before the first validation."""
        return checkpoint.folder_name(self.ranking.steps[0]) if self.ranking.steps else ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.policy.pause_at is not None and trainer.global_step >= self.policy.pause_at:
            self._stop()  # it goes on from there already

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.writer.check()  # training on without checkpoints would be lost
        # Where a validation is due, the checkpoint waits for it: Lightning would skip it after a resume from here.
        if trainer.fit_loop._should_accumulate() or self._validation_is_due(trainer):
            return
        stops = self._stops(trainer)
        if stops or self._is_due(trainer.global_step):
            self.step_log.flush(trainer)
            self._write(trainer)
        if stops:
            self._stop()
        if trainer.global_step == self.step_log.total_steps:
            self._validate_now(trainer)

    def _is_due(self, step: int) -> bool:
        """Whether one is written at a step for its own sake; after the last one that is validated, it has a better."""
        every = self.policy.every_steps
        return every is not None and step % every == 0 and step < self.step_log.total_steps

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._after_validation(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # At the end of an epoch the checkpoint waits for this hook: from here Lightning resumes with the next epoch.
        if self.validation.measured_at == trainer.global_step:
            self._after_validation(trainer)

    @staticmethod
    def _validation_is_due(trainer: Trainer) -> bool:
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)

    @staticmethod
    def _validate_now(trainer: Trainer) -> None:
        """Validate after the last step even where no interval ends there, so that the last model is measured."""
        # As Lightning's own epoch loop does it, which has no hook for a validation between its intervals.
        first_iteration = trainer._logger_connector._first_loop_iter
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        trainer._logger_connector._first_loop_iter = first_iteration

    def _after_validation(self, trainer: Trainer) -> None:
        self.step_log.flush(trainer)
        self.ranking.add(trainer.global_step, self._score())
        self.step_log.shown = {name: self.validation.measured[name] for name in self._shown()}
        self._write(trainer)
        if self._stops(trainer):
            self._stop()

    def _stops(self, trainer: Trainer) -> bool:
        """Whether training ends here, for another reason than that it is done."""
        return self.step_log.stop_agreed or trainer.global_step == self.policy.pause_at

    def _stop(self) -> None:
        """Raise StopRequested, once the last checkpoint is on the disk."""
        self.finish(within_s=COPIED_WITHIN_STOPPED_S)
        raise StopRequested

    def finish(self, *, within_s: float = COPIED_WITHIN_S) -> None:
        """Wait until the last checkpoint is on the disk, and a while for its copy.

        Raises:
            CheckpointFailed: it could not be written.
        """
        self.writer.wait()
        if self.copies is not None:
            self.copies.finish(within_s=within_s)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # What an attempt before was killed in writing.
        if trainer.is_global_zero:
            for left in self.policy.root.glob(".step-*"):
                shutil.rmtree(left, ignore_errors=True)

    def _score(self) -> tuple[float, float]:
        """What makes a checkpoint the best: the monitored metric and, where that is equal (saturated), the loss.

        Raises:
            ForgelineError: the validation split does not give the metric.
        """
        measured, monitor = self.validation.measured, self.policy.monitor
        if monitor not in measured:
            raise ForgelineError(
                f"{monitor} cannot be measured on the validation split: it has too few samples, or none of a class; "
                f"measured are {', '.join(measured)}: change checkpoint.metric or the gate's metric, or hold out more"
            )
        value = measured[monitor]
        return (value if self.policy.higher_is_better else -value), -measured[LOSS]

    def _shown(self) -> list[str]:
        return [LOSS] if self.policy.monitor == LOSS else [LOSS, self.policy.monitor]

    def _write(self, trainer: Trainer) -> None:
        step = trainer.global_step
        if step == self._written_at:
            return
        self._written_at = step
        temporary = self.policy.root / f".{checkpoint.folder_name(step)}.tmp"
        if trainer.is_global_zero:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        trainer.save_checkpoint(temporary / checkpoint.STATE)  # the strategy hands it to the writer
        seal = None
        if trainer.is_global_zero:
            seal = partial(self._seal, temporary, self._manifest(trainer), self.ranking.steps)
        self.writer.start(temporary, seal)
        self.step_log.restart_clock()

    def _manifest(self, trainer: Trainer) -> checkpoint.Manifest:
        progress = trainer.fit_loop.epoch_loop.batch_progress
        finished_epoch = progress.is_last_batch
        return checkpoint.Manifest(
            run_id=self.policy.run_id,
            step=trainer.global_step,
            epoch=trainer.current_epoch + 1 if finished_epoch else trainer.current_epoch,
            batch=0 if finished_epoch else progress.current.ready // self.policy.pieces,
            metrics=dict(self.validation.measured),
            architecture=self.policy.architecture,
            fingerprint=self.policy.fingerprint,
            strategy=self.policy.strategy,
            workers=trainer.world_size,
        )

    def _seal(
        self, temporary: Path, manifest: checkpoint.Manifest, best: list[int], digests: Mapping[str, str]
    ) -> None:
        """What the writer's thread does when all files are there: training may be steps ahead by then."""
        folder = self.policy.root / checkpoint.folder_name(manifest.step)
        checkpoint.seal(temporary, folder, replace(manifest, digests=digests))
        if self.spool is not None:
            self.spool.event("checkpoint", step=manifest.step, path=folder.name)
        keep = partial(self.policy.retention.kept, best=best)
        there = checkpoint.by_step(self.policy.root)
        kept = keep(there)
        for step, path in there.items():
            if step not in kept:
                # One that cannot be removed now (a file that is open elsewhere) is tried again with the next one.
                shutil.rmtree(path, ignore_errors=True)
        if self.copies is not None:
            self.copies.update(keep)

    def state_dict(self) -> dict[str, Any]:
        return {"monitor": self.policy.monitor, "ranking": [[step, list(score)] for score, step in self.ranking.places]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # What is no longer there, or was best by another metric, is not the best one now. Rank 0 alone chooses.
        if self.spool is None or state_dict.get("monitor") != self.policy.monitor:
            return
        for step, score in _ranked(state_dict):
            if checkpoint.verified(self.policy.root / checkpoint.folder_name(step)) is not None or self._fetch(step):
                self.ranking.add(step, tuple(score))

    def _fetch(self, step: int) -> bool:
        """Bring back the copy of a checkpoint that is not here, or damaged; whether there was one."""
        return self.copies is not None and self.copies.fetch(step)


def _ranked(state: dict[str, Any]) -> list[tuple[int, list[float]]]:
    """Steps and scores of the best checkpoints; Forgeline 0.1.0 knew one, by its folder."""
    if "ranking" in state:
        return list(state["ranking"])
    step = checkpoint.step_of(state.get("best", ""))
    return [] if step is None else [(step, list(state["best_score"]))]
