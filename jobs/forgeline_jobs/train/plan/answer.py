"""The plan of a training, put together: for scripts as JSON values, for people as facts, tables and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgeline.planning import Plan, Question, Table
from forgeline_jobs.train.plan import devices
from forgeline_jobs.train.plan.choice import Choice, Need, choose, choose_open, sensible
from forgeline_jobs.train.plan.devices import Device, size_in_words
from forgeline_jobs.train.plan.estimate import Estimate, Rate, estimate
from forgeline_jobs.train.plan.model_states import deepspeed_estimate
from forgeline_jobs.train.plan.needs import Needs, Rehearsal
from forgeline_jobs.train.plan.taking import is_open
from forgeline_jobs.train.plan.throughput import earlier_rate, measured_rate

if TYPE_CHECKING:
    from forgeline_jobs.data.base import PreparedData
    from forgeline_jobs.train.schedule import Schedule
    from forgeline_jobs.train.spec import TrainSpec

GIB = 2**30

NOTES = (
    "memory is of the worker that has most: weights, gradients and optimizer states by ZeRO's formulae "
    "(arXiv:1910.02054, section 3), at the precision of the run; activations are counted on the model itself",
    "not in it: a layer that is gathered while it computes (fsdp, zero 3), buckets of messages, workspace of kernels, "
    "and what torch.compile saves",
)
ESTIMATOR_NOTE = (
    "DeepSpeed's own estimator has 2 N + 18 N / n bytes at stage 2 where the paper has 2 N + 14 N / n: it counts "
    "32-bit gradients beside the 16-bit ones, and always a training at 16 bits with Adam"
)
BFLOAT16_NOTE = "T4 and V100 have no arithmetic of bfloat16: torch emulates it there, slowly; use 16-mixed on them"
HOST_NOTE = "what is offloaded needs as much memory of the host, for each worker"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answers for one spec.

    Args:
        spec: of the run, checked.
        data: what it learns from.
        schedule: of the run.
        question: what was asked.
    """

    spec: TrainSpec
    data: PreparedData
    schedule: Schedule
    question: Question

    def plan(self) -> Plan:
        """The plan.

        Raises:
            UsageError: there is no such GPU.
        """
        device = self._device()
        rehearsal = Rehearsal(self.spec, self.data, total_steps=self.schedule.total_steps)
        needs = rehearsal.needs()
        each, fewest = rehearsal.each, rehearsal.fewest
        chosen = None if device is None else self._chosen(needs, device, fewest)
        fitting = [
            (gpu, choose(needs.rows, usable=gpu.usable, each=each, fewest=fewest))
            for gpu in devices.known_gpus(self.question.settings)
        ]
        rate = self._rate(needs)
        price = self._price(device)
        cost = None
        if rate is not None:
            cost = estimate(samples=self._samples, rate=rate, resources=self.spec.resources, price=price)
        memory = [
            _memory(need, self._at_once, self._estimator(need, needs)) | {"own": need is self._own(needs)}
            for need in needs.rows
        ]
        data = {
            "kind": self.spec.kind,
            "name": self.spec.name,
            "architecture": self.spec.architecture.name,
            "parameters": {"total": needs.size.total, "trainable": needs.size.trainable},
            "workers": self.spec.workers,
            "precision": self.spec.trainer.precision,
            "strategy": self.spec.strategy.model_dump(mode="json"),
            "batch": {"global": self.spec.data.batch_size, "each": each, "accumulate": self.spec.trainer.accumulate},
            "steps": {"total": self.schedule.total_steps, "epoch": self.schedule.steps_per_epoch},
            "samples": self._samples,
            "memory": memory,
            "activations": _activations(needs),
            "device": None if device is None else _device(device),
            "auto": None if chosen is None else _choice(chosen) | {"taken": self._is_open},
            "gpus": [_device(gpu) | {"auto": None if found is None else _choice(found)} for gpu, found in fitting],
            "estimate": None if cost is None or rate is None else _estimate(cost, rate, price),
        }
        return Plan(
            data=data,
            facts=self._facts(needs, device, chosen, rate, cost),
            tables=[_memory_table(memory, self._at_once), *([] if not fitting else [_gpu_table(fitting)])],
            notes=[*NOTES, *self._notes(needs)],
        )

    @property
    def _samples(self) -> int:
        """That the run goes through."""
        per_step: int = self.spec.trainer.accumulate * self.spec.data.batch_size
        return self.schedule.total_steps * per_step

    @property
    def _at_once(self) -> int:
        """Samples that go through the model together on a worker, where that is not left to `auto`."""
        size = self.spec.trainer.micro_batch
        return size if isinstance(size, int) else self.spec.share

    def _device(self) -> Device | None:
        """Where a worker computes: on the GPU that is named or here, or on CPUs; None where nobody knows."""
        if self.question.gpu is not None:
            return devices.gpu_named(self.question.gpu, self.question.settings)
        return devices.device_of(self.spec.resources, self.spec.workers)

    def _chosen(self, needs: Needs, device: Device, fewest: int) -> Choice | None:
        """What the run takes where its spec says `auto`; elsewhere what it would take if it said so."""
        if self._is_open:
            return choose_open(self.spec, needs.rows, usable=device.usable, fewest=fewest)
        each = self.spec.data.batch_size // self.spec.readers
        return choose(sensible(self.spec, needs.rows), usable=device.usable, each=each, fewest=fewest)

    @property
    def _is_open(self) -> bool:
        """Whether the run itself takes what is chosen."""
        return is_open(self.spec)

    def _rate(self, needs: Needs) -> Rate | None:
        given = self.question.throughput
        if given is not None:
            return Rate(samples_per_s=given, source="--throughput")
        return earlier_rate(self.spec, self.question.settings) or measured_rate(
            self.spec, task=self.data.signature.task, parameters=needs.size.total
        )

    def _price(self, device: Device | None) -> float | None:
        prices = {name.lower(): price for name, price in self.question.settings.gpu_prices.items()}
        return None if device is None else prices.get(device.name.lower())

    def _estimator(self, need: Need, needs: Needs) -> int | None:
        if need.strategy.zero_stage is None or need.strategy.offload != "none":
            return None
        return deepspeed_estimate(
            needs.size.total,
            stage=need.strategy.zero_stage,
            workers=self.spec.workers,
            largest_layer=needs.largest_layer,
        )

    def _own(self, needs: Needs) -> Need | None:
        """What the spec's strategy needs; None where its settings are those of no row (nvme, tensor_parallel)."""
        return next((need for need in needs.rows if need.strategy.config() == self.spec.strategy), None)

    def _own_in_words(self, needs: Needs, device: Device | None) -> str:
        if self.spec.strategy.name == "auto":
            return "auto, chosen when the run starts"
        own, each = self._own(needs), self._at_once
        if own is None:
            return f"{self.spec.strategy.name}, whose settings are not planned for"
        needed = f"{own.strategy}: {size_in_words(own.device(each))} for a worker"
        if device is None:
            return needed
        return f"{needed}, which {'fits' if own.device(each) <= device.usable else 'does not fit'} {device.name}"

    def _facts(
        self, needs: Needs, device: Device | None, chosen: Choice | None, rate: Rate | None, cost: Estimate | None
    ) -> Sequence[tuple[str, str]]:
        spec, schedule = self.spec, self.schedule
        each = spec.data.batch_size // spec.workers
        accumulated = f", {spec.trainer.accumulate} batches a step" if spec.trainer.accumulate > 1 else ""
        accumulated += f", in micro-batches of {self._at_once}" if spec.pieces > 1 else ""
        return [
            ("job", f"{spec.kind} {spec.name}: {spec.architecture.name}, {self.data.signature.task}"),
            ("parameters", f"{needs.size.total:,} ({needs.size.trainable:,} trained)"),
            ("precision", spec.trainer.precision),
            ("batch", f"{spec.data.batch_size}, {each} on each of {spec.workers} workers{accumulated}"),
            ("steps", f"{schedule.total_steps:,} ({schedule.steps_per_epoch:,} an epoch), {self._samples:,} samples"),
            ("device", "unknown: no GPU is here and --gpu names none" if device is None else device.in_words),
            ("strategy", self._own_in_words(needs, device)),
            ("auto", _auto_in_words(device, chosen)),
            *_time_facts(rate, cost),
        ]

    def _notes(self, needs: Needs) -> list[str]:
        notes = [needs.uncounted] if needs.uncounted else []
        if any(need.strategy.zero_stage for need in needs.rows):
            notes += [ESTIMATOR_NOTE, HOST_NOTE]
        if self.spec.trainer.precision.startswith("bf16") and self.spec.resources.gpus_per_worker:
            notes.append(BFLOAT16_NOTE)
        return notes + [f"{name} is left out, since it would be refused: {why}" for name, why in needs.refused.items()]


def _memory(need: Need, each: int, estimator: int | None) -> dict[str, Any]:
    return {
        "strategy": need.strategy.name,
        "zero_stage": need.strategy.zero_stage,
        "offload": need.strategy.offload,
        "label": str(need.strategy),
        "weights": need.states.weights,
        "gradients": need.states.gradients,
        "optimizer": need.states.optimizer,
        "averages": need.states.averages,
        "activations": None if need.activations is None else need.activations.of(each),
        "total": need.device(each),
        "host": need.states.host,
        "deepspeed_estimator": estimator,
    }


def _activations(needs: Needs) -> list[dict[str, Any]]:
    return [
        {
            "strategy": str(need.strategy),
            "fixed": need.activations.fixed,
            "per_sample": need.activations.per_sample,
            "counted": need.activations.how,
        }
        for need in needs.rows
        if need.activations is not None
    ]


def _device(device: Device) -> dict[str, Any]:
    return {"name": device.name, "memory": device.memory, "usable": device.usable}


def _choice(chosen: Choice) -> dict[str, Any]:
    return {
        "strategy": chosen.need.strategy.name,
        "zero_stage": chosen.need.strategy.zero_stage,
        "offload": chosen.need.strategy.offload,
        "micro_batch": chosen.micro_batch,
        "pieces": chosen.pieces,
        "memory": chosen.device,
        "why": chosen.why,
    }


def _estimate(cost: Estimate, rate: Rate, price: float | None) -> dict[str, Any]:
    return {
        "samples_per_s": rate.samples_per_s,
        "source": rate.source,
        "seconds": cost.seconds,
        "gpu_hours": cost.gpu_hours,
        "cpu_hours": cost.cpu_hours,
        "price_per_gpu_hour": price,
        "cost": cost.cost,
    }


def _memory_table(memory: Sequence[Mapping[str, Any]], each: int) -> Table:
    kinds = ["weights", "gradients", "optimizer", "averages", "activations", "total", "host"]
    rows = [
        {"strategy": row["label"]}
        | {kind: size_in_words(row[kind]) for kind in kinds}
        | {"DeepSpeed's": size_in_words(row["deepspeed_estimator"])}
        for row in memory
    ]
    shown = [kind for kind in [*kinds, "DeepSpeed's"] if any(row[kind] for row in rows)]
    return Table(title=f"memory of a worker, {each} samples at once", columns=["strategy", *shown], rows=rows)


def _gpu_table(fitting: Sequence[tuple[Device, Choice | None]]) -> Table:
    rows = []
    for gpu, found in fitting:
        row = {"GPU": gpu.name, "memory": size_in_words(gpu.memory)}
        if found is None:
            row["strategy"] = "nothing fits"
        else:
            row |= {
                "strategy": str(found.need.strategy),
                "micro_batch": str(found.micro_batch),
                "needs": size_in_words(found.device),
            }
        rows.append(row)
    columns = ["GPU", "memory", "strategy", "micro_batch", "needs"]
    return Table(title="what fits on each worker's GPU", columns=columns, rows=rows)


def _auto_in_words(device: Device | None, chosen: Choice | None) -> str:
    if device is None:
        return ""
    if chosen is None:
        return f"nothing fits {device.name}, even with everything on the host"
    pieces = f" ({chosen.pieces} pieces of the worker's batch)" if chosen.pieces > 1 else ""
    return f"{chosen.need.strategy}, micro-batch {chosen.micro_batch}{pieces}: {chosen.why}"


def _time_facts(rate: Rate | None, cost: Estimate | None) -> list[tuple[str, str]]:
    if rate is None or cost is None:
        return [("time", "unknown: nothing like it was measured; --throughput gives the samples a second")]
    facts = [
        ("throughput", f"{rate.samples_per_s:,.1f} samples/s, from {rate.source}"),
        ("time", f"{_hours(cost.seconds)} of training; validations and checkpoints come on top"),
    ]
    if cost.gpu_hours:
        price = "no price is set (FORGELINE_GPU_PRICES)" if cost.cost is None else f"{cost.cost:,.2f}"
        facts += [("GPU-hours", f"{cost.gpu_hours:,.2f}"), ("cost", price)]
    else:
        facts.append(("CPU-hours", f"{cost.cpu_hours:,.2f}"))
    return facts


def _hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
