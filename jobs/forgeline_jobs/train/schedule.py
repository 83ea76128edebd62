"""Epochs, steps and batches of a run, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from forgeline.errors import SpecError
from forgeline.spec.units import Length
from forgeline_jobs.train.spec import TrainerConfig, TrainSpec


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The length of a run.

    Attributes:
        batches_per_epoch: global batches in one pass, a multiple of those that make a step; the rest is dropped.
        steps_per_epoch: optimizer steps in one pass.
        total_steps: optimizer steps of the run.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of_run(cls, spec: TrainSpec, rows: int) -> Self:
        """The schedule of a run.

        Args:
            spec: of the run.
            rows: samples in its train split.

        Raises:
            SpecError: they do not make a step.
        """
        return cls.of(spec.trainer, batches=rows // int(spec.data.batch_size))

    @classmethod
    def of(cls, trainer: TrainerConfig, *, batches: int) -> Self:
        """The schedule of a spec.

        A step is always made of `accumulate` batches: Lightning divides by that number in a shorter last window too.

        Args:
            trainer: length and accumulation.
            batches: whole batches that the train split holds.

        Raises:
            SpecError: they do not make a step.
        """
        steps_per_epoch = batches // trainer.accumulate
        if steps_per_epoch == 0:
            raise SpecError(
                f"got {trainer.accumulate}; the train split holds {batches} batches: set it to at most {batches}, "
                "or lower data.batch_size",
                key="trainer.accumulate",
            )
        total = trainer.steps if trainer.steps is not None else (trainer.epochs or 0) * steps_per_epoch
        return cls(
            batches_per_epoch=steps_per_epoch * trainer.accumulate, steps_per_epoch=steps_per_epoch, total_steps=total
        )

    def steps(self, length: Length) -> int:
        """A length in optimizer steps."""
        return length.value if length.unit == "step" else length.value * self.steps_per_epoch
