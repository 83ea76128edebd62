"""The real module of a spec, and what a worker needs of memory to train it under each strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from forgeline import plugins
from forgeline.errors import SpecError
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.train import rehearsal, transfer
from forgeline_jobs.train.plan import activations
from forgeline_jobs.train.plan.activations import Arithmetic
from forgeline_jobs.train.plan.choice import Need
from forgeline_jobs.train.plan.counting import largest_layer, size_of
from forgeline_jobs.train.plan.model_states import STRATEGIES, ModelSize, OptimizerState, Strategy, model_states
from forgeline_jobs.train.preparation import module_options
from forgeline_jobs.train.strategies.checks import check_architecture
from forgeline_jobs.train.strategies.config import check_run

if TYPE_CHECKING:
    from forgeline.plugins import ArchitectureDescriptor
    from forgeline_architectures.tasks.base import TaskModule
    from forgeline_jobs.data.base import PreparedData
    from forgeline_jobs.train.plan.activation_count import ActivationCount
    from forgeline_jobs.train.spec import TrainSpec


REAL_SAMPLES = 4
"""Samples of a real step, which takes time and memory, unlike one on fake tensors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What was found out.

    Attributes:
        size: of the model.
        largest_layer: parameters of its largest layer.
        rows: a need for each strategy that can train it, by what they send.
        refused: why the others cannot, by name.
        uncounted: why activations could not be counted; empty where they could.
    """

    size: ModelSize
    largest_layer: int
    rows: tuple[Need, ...]
    refused: Mapping[str, str]
    uncounted: str = ""


class Rehearsal:
    """Counts on the module of a spec.

    Args:
        spec: of the run, checked.
        data: what it learns from.
        total_steps: optimiser steps of the run.
    """

    def __init__(self, spec: TrainSpec, data: PreparedData, *, total_steps: int) -> None:
        self.spec = spec
        self.data = data
        self.total_steps = total_steps
        self.uncounted = ""

    @property
    def fewest(self) -> int:
        """Samples that the model takes at least."""
        return getattr(self.spec.architecture, "fewest_samples", 1)  # which a config of somebody else may not say

    @property
    def each(self) -> int:
        """Samples of a batch on each worker."""
        batch_size: int = self.spec.data.batch_size
        return batch_size // self.spec.workers

    def needs(self) -> Needs:
        """For every strategy that can train it."""
        module = self._module()
        if module is None:
            module = self._real_module()
        size, optimizer = size_of(module), OptimizerState.of(self.spec.optimizer)
        counts: dict[Arithmetic, ActivationCount | None] = {}
        rows = []
        refused: dict[str, str] = {}
        for strategy in STRATEGIES:
            why_not = self._why_not(strategy)
            if why_not:
                refused[strategy.name] = why_not
                continue
            arithmetic = self._arithmetic(strategy)
            if arithmetic not in counts:
                counts[arithmetic] = self._count(arithmetic, parameters=size.total)
            states = model_states(
                size,
                optimizer,
                precision=self.spec.trainer.precision,
                strategy=strategy,
                workers=self.spec.workers,
            )
            rows.append(Need(strategy=strategy, states=states, activations=counts[arithmetic]))
        return Needs(
            size=size,
            largest_layer=largest_layer(module),
            rows=tuple(rows),
            refused=refused,
            uncounted=self.uncounted,
        )

    def _why_not(self, strategy: Strategy) -> str:
        """What a run with this strategy would be refused with; empty where it would be taken."""
        spec, config = self.spec, strategy.config()
        family = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
        try:
            check_run(
                config,
                trainer=spec.trainer,
                gpus_per_worker=spec.resources.gpus_per_worker,
                adapter=spec.fine_tune.adapter is not None,
            )
            check_architecture(spec.model_copy(update={"strategy": config}), cast("ArchitectureDescriptor", family))
        except SpecError as error:
            return error.message
        except ValueError as error:
            return str(error)
        return ""

    def _arithmetic(self, strategy: Strategy) -> Arithmetic:
        """DeepSpeed casts the module, and the others inside autocast."""
        match self.spec.trainer.precision:
            case "32-true":
                return "full"
            case "bf16-true":
                return "half"
            case _:
                return "half" if strategy.name == "deepspeed" else "cast"

    def _count(self, arithmetic: Arithmetic, *, parameters: int) -> ActivationCount | None:
        """On fake tensors, else in a real step; None where neither can be done."""
        try:
            return self._count_fake(arithmetic)
        except Exception as error:  # whatever a step that needs numbers says to tensors without any
            if parameters > activations.LARGEST_REAL:
                self._not_counted(error)
                return None
        precision = {"full": "32-true", "cast": "bf16-mixed", "half": "bf16-true"}[arithmetic]
        samples = self._samples(min(self.each, max(self.fewest, REAL_SAMPLES)))
        try:
            return activations.count_real(self._real_module(), self._batch, precision=precision, samples=samples)
        except Exception as error:  # a plan tells the rest
            self._not_counted(error)
            return None

    def _count_fake(self, arithmetic: Arithmetic) -> ActivationCount:
        module = self._module()
        if module is None:
            raise RuntimeError("the model cannot be built without numbers")
        return activations.count(
            module,
            self._batch,
            arithmetic=arithmetic,
            half=torch.float16 if self.spec.trainer.precision == "16-mixed" else torch.bfloat16,
            gpu=self.spec.resources.gpus_per_worker > 0,
            samples=self._samples(self.each),
        )

    def _not_counted(self, error: Exception) -> None:
        lines = str(error).splitlines() or [""]
        self.uncounted = f"activations could not be counted and are left out: {type(error).__name__}: {lines[0]}"

    def _samples(self, most: int) -> tuple[int, int]:
        """Of the two counts: half of what there is and all of it, since norms over samples may refuse a single one."""
        fewer = max(self.fewest, most // 2)
        return (fewer, most) if most > fewer else (fewer, 2 * fewer)

    def _batch(self, samples: int) -> Mapping[str, torch.Tensor]:
        split = self.data.splits["train"]
        arrays = split.batch(as_int64([index % len(split) for index in range(samples)]))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _module(self) -> TaskModule | None:
        return rehearsal.rehearsed(self.spec, self.data, total_steps=self.total_steps)

    def _real_module(self) -> TaskModule:
        """With fresh weights, in memory."""
        options = module_options(self.spec, self.data, total_steps=self.total_steps)
        family: Any = plugins.find(plugins.ARCHITECTURES, self.spec.architecture.name, key="architecture.name")
        config = rehearsal.without_weights(self.spec.architecture).model_dump(mode="json")
        with torch.random.fork_rng(devices=()):
            module = family.build_module(config, self.data.signature.model_dump(mode="json"), options)
        transfer.begin(module, self.spec, self.data, source=None)
        return cast("TaskModule", module)
