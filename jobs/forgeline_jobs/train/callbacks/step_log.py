"""The step log: loss and its parts, learning rate, gradient norm and throughput of every step, to the rank-0 spool.

Two things ride on the one small all-reduce that makes losses means over ranks: the check that they are finite, and the
agreement of all ranks to stop at the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.optim import Optimizer

from forgeline.tracking.spool import Spool
from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer

PROGRESS_INTERVAL_S = 0.2


class StopRequested(Exception):
    """The run was asked to stop; its checkpoint is written."""


class NonFiniteLoss(Exception):
    """The loss became infinite or not a number."""


class StepLog(Callback):
    """Writes the metrics of every step, and progress at most five times a second.

    Args:
        spool: rank 0's spool; None on the other ranks, which only take part in the reduction.
        stop_request: the file whose existence asks the run to stop.
        notice: whether this worker is about to be taken away.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        samples_per_step: samples of an optimizer step, over all ranks and accumulated batches.
        every: steps between reductions.
        pieces: that a worker's share of a batch comes in; places are told in whole batches.
        describe_batch: (epoch, batch) -> which samples it held, for the message of a non-finite loss.
    """

    def __init__(
        self,
        spool: Spool | None,
        *,
        stop_request: Path,
        notice: Callable[[], bool] = lambda: False,
        total_steps: int,
        steps_per_epoch: int,
        samples_per_step: int,
        every: int,
        describe_batch: Callable[[int, int], str],
        pieces: int = 1,
    ) -> None:
        self.spool = spool
        self.stop_request = stop_request
        self.notice = notice
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.epochs = math.ceil(total_steps / steps_per_epoch)
        self.samples_per_step = samples_per_step
        self.every = every
        self.describe_batch = describe_batch
        self.pieces = pieces
        self.stop_agreed = False
        self.shown: dict[str, float] = {}
        self._losses: list[torch.Tensor] = []
        self._places: list[tuple[int, int, int, float]] = []  # step, epoch, batch, learning rate
        self._norms: list[torch.Tensor | None] = []
        self._parts: list[dict[str, torch.Tensor]] = []  # what a module keeps besides its loss, by name
        self._learning_rate = 0.0
        self._open: torch.Tensor | None = None
        self._open_parts: dict[str, torch.Tensor] = {}
        self._samples = 0
        self._flushed_at = time.perf_counter()
        self._progress_at = 0.0
        self._rate = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.restart_clock()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # When the batch ends, the scheduler has set the next step's rate already.
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning has divided each micro-batch's loss by the number accumulated: their sum is the step's loss.
        loss = outputs["loss"].detach()
        self._open = loss if self._open is None else self._open + loss
        for name, part in getattr(pl_module, "parts", {}).items():
            share = part.detach() / trainer.accumulate_grad_batches
            self._open_parts[name] = self._open_parts[name] + share if name in self._open_parts else share
        if trainer.fit_loop._should_accumulate():
            return
        self._samples += self.samples_per_step
        self._losses.append(self._open)
        self._parts.append(self._open_parts)
        self._norms.append(getattr(pl_module, "last_gradient_norm", None))
        self._places.append((trainer.global_step, trainer.current_epoch, batch_idx // self.pieces, self._learning_rate))
        self._open, self._open_parts = None, {}
        if len(self._losses) >= self.every:
            self.flush(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.flush(trainer)

    def flush(self, trainer: Trainer) -> None:
        """Reduce what has been collected, check it, and write it. Called on every rank at the same step."""
        if not self._losses:
            return
        stop = 1.0 if self.notice() or (self.spool is not None and self.stop_request.exists()) else 0.0
        measured = [{"loss": loss, **parts} for loss, parts in zip(self._losses, self._parts, strict=True)]
        numbers = [value.float() for values in measured for value in values.values()]
        packed = torch.stack([*numbers, numbers[0].new_tensor(stop)])
        if trainer.world_size > 1:
            torch.distributed.all_reduce(packed)
            packed[:-1] /= trainer.world_size
        *reduced, stop = packed.tolist()
        self.stop_agreed = self.stop_agreed or stop > 0
        left = iter(reduced)
        steps = [{name: next(left) for name in values} for values in measured]
        norms = [None if norm is None else float(norm) for norm in self._norms]
        places = self._places
        self._places, self._losses, self._norms, self._parts = [], [], [], []
        for values, (step, epoch, batch, _) in zip(steps, places, strict=True):
            wrong = next((name for name, value in values.items() if not math.isfinite(value)), None)
            if wrong is not None:
                raise NonFiniteLoss(
                    f"the {wrong} became {values[wrong]} at step {step} (epoch {epoch + 1}, batch {batch}: "
                    f"{self.describe_batch(epoch, batch)}); lower optimizer.lr, set trainer.gradient_clip, "
                    "or look at these samples"
                )
        self._write(steps, norms, places)

    def _write(
        self, steps: list[dict[str, float]], norms: list[float | None], places: list[tuple[int, int, int, float]]
    ) -> None:
        now = time.perf_counter()
        rate = self._samples / max(now - self._flushed_at, 1e-9)
        self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate
        self._samples, self._flushed_at = 0, now
        if self.spool is None:
            return
        for measured, norm, (step, _, _, learning_rate) in zip(steps, norms, places, strict=True):
            values = {f"train/{name}": value for name, value in measured.items()}
            values |= {"train/learning_rate": learning_rate, "train/samples_per_s": rate}
            if norm is not None:
                values["train/gradient_norm"] = norm
            self.spool.metrics(step, values)
        if now - self._progress_at >= PROGRESS_INTERVAL_S or places[-1][0] >= self.total_steps:
            self._progress_at = now
            step, epoch, _, _ = places[-1]
            self.spool.event(
                "step",
                step=step,
                steps=self.total_steps,
                epoch=epoch + 1,
                epochs=self.epochs,
                loss=steps[-1]["loss"],
                metrics=self.shown,
                samples_per_s=self._rate,
                eta_s=(self.total_steps - step) * self.samples_per_step / self._rate,
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave what was not training (a validation, a checkpoint) out of the throughput of the next step."""
        self._flushed_at = time.perf_counter()
