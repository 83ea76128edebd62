"""Bytes that weights, gradients and optimizer states take on each worker, by strategy; arithmetic, without torch.

ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054), section 3.1 and figure 1: mixed precision with Adam keeps 2 bytes of
weights, 2 of gradients and K = 12 of optimizer states a parameter, 16 in all, and stages 1, 2 and 3 share out the
states, then the gradients, then the weights among n workers. What Forgeline's strategies keep differs in two ways:

- Lightning's mixed precision (ddp, fsdp) casts inside autocast: its weights are the 32-bit ones, there is no second
  copy, and 4 + 4 + 8 is 16 again. The casts that live from forward to backward pass are counted with the activations.
- DeepSpeed has a master copy of 32-bit weights beside the weights of the model in every precision, 32-true included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forgeline_architectures.optimisation.options import OptimizerConfig
from forgeline_jobs.train.strategies.config import DDPConfig, DeepSpeedConfig, FSDPConfig, StrategyConfig

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]
StrategyName = Literal["ddp", "fsdp", "deepspeed"]
Offload = Literal["none", "optimizer", "all"]

FULL = 4
"""Bytes of a number in float32."""
HALF = 2
"""Bytes of a number in bfloat16 or float16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strategy:
    """How workers share the model states.

    Attributes:
        name: as the spec has it.
        zero_stage: 1, 2 or 3 for deepspeed, None otherwise.
        offload: what is kept in the memory of the host: nothing, optimizer states with their gradients, or the weights
            too (stage 3).
    """

    name: StrategyName
    zero_stage: int | None = None
    offload: Offload = "none"

    def __str__(self) -> str:
        stage = "" if self.zero_stage is None else f" zero {self.zero_stage}"
        return f"{self.name}{stage}{_OFFLOADED[self.offload]}"

    def config(self) -> StrategyConfig:
        """The same as a spec asks for it."""
        match self.name:
            case "ddp":
                return DDPConfig()
            case "fsdp":
                return FSDPConfig(name="fsdp")
            case "deepspeed":
                kept = {"none": {}, "optimizer": {"optimizer": "cpu"}, "all": {"optimizer": "cpu", "parameters": "cpu"}}
                told = {"name": self.name, "zero_stage": self.zero_stage, "offload": kept[self.offload]}
                return DeepSpeedConfig.model_validate(told)


_OFFLOADED = {"none": "", "optimizer": ", optimizer on host", "all": ", all on host"}

STRATEGIES = (
    Strategy(name="ddp"),
    Strategy(name="deepspeed", zero_stage=1),
    Strategy(name="deepspeed", zero_stage=2),
    Strategy(name="fsdp"),
    Strategy(name="deepspeed", zero_stage=3),
    Strategy(name="deepspeed", zero_stage=1, offload="optimizer"),
    Strategy(name="deepspeed", zero_stage=2, offload="optimizer"),
    Strategy(name="deepspeed", zero_stage=3, offload="optimizer"),
    Strategy(name="deepspeed", zero_stage=3, offload="all"),
)
"""All of them, by what they send: ZeRO section 7 has 2 numbers a parameter and step for data parallelism and for stages
1 and 2, 3 for stage 3 (as FSDP sends); offloading adds the way to the host and back (ZeRO-Offload, Ren et al. 2021,
arXiv:2101.06840, section 4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One tensor of weights.

    Attributes:
        elements: its numbers.
        rows: its size along dimension 0, along which FSDP shares it; 1 for a scalar.
        trained: whether it takes gradients.
    """

    elements: int
    rows: int
    trained: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """What there is to keep.

    Attributes:
        parameters: tensors of weights, each once.
        floating_buffers: numbers in buffers of floats, which follow the precision of the weights.
        other_buffers: bytes of the other buffers.
        averages: bytes of averaged weights (`trainer.ema`), which stay as they were made.
    """

    parameters: Sequence[Parameter]
    floating_buffers: int = 0
    other_buffers: int = 0
    averages: int = 0

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(each.elements for each in self.parameters)

    @property
    def trainable(self) -> int:
        """Those that are trained."""
        return sum(each.elements for each in self.parameters if each.trained)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerState:
    """What an optimiser keeps.

    Attributes:
        numbers: for each trained number.
        bytes_per_tensor: for each trained tensor besides: the count of steps.
    """

    numbers: int
    bytes_per_tensor: int = 0

    @classmethod
    def of(cls, config: OptimizerConfig) -> OptimizerState:
        """Of torch's implementations, which are the ones used: Adam two moments, SGD and RMSprop a momentum if any."""
        momentum = 1 if config.momentum else 0
        match config.name:
            case "adam" | "adamw":
                return cls(numbers=2, bytes_per_tensor=FULL)
            case "rmsprop":
                return cls(numbers=1 + momentum, bytes_per_tensor=FULL)
            case "sgd":
                return cls(numbers=momentum)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStates:
    """Bytes on the worker that has most.

    Attributes:
        weights: parameters and buffers, on the device.
        gradients: on the device.
        optimizer: optimizer states, with the master copy of the weights where there is one, on the device.
        averages: averaged weights, on the device.
        host: what is offloaded to the host's memory, for this worker.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int = 0
    host: int = 0

    @property
    def device(self) -> int:
        """All on the device."""
        return self.weights + self.gradients + self.optimizer + self.averages


def share(elements: int, workers: int) -> int:
    """Numbers that the worker with most of them has, of numbers that are shared out evenly.

    >>> share(10, 4), share(10, 1)
    (3, 10)
    """
    return -(-elements // workers)


def model_states(
    size: ModelSize, optimizer: OptimizerState, *, precision: Precision, strategy: Strategy, workers: int
) -> ModelStates:
    """Bytes of model states on the worker that has most.

    Not counted: layers that are gathered while they compute (fsdp, stage 3), buckets of messages, and DeepSpeed's
    padding of each group of parameters to a multiple of twice the workers.

    Args:
        size: of the model.
        optimizer: what it keeps.
        precision: of the run.
        strategy: how workers share.
        workers: how many there are.
    """
    weights_of, gradients_of, states_of = _shared(size, strategy, workers)
    half = precision == "bf16-true" or (strategy.name == "deepspeed" and precision != "32-true")
    width = HALF if half else FULL
    weights = weights_of * width
    buffers = size.floating_buffers * width + size.other_buffers
    gradients = gradients_of * width
    if strategy.name == "deepspeed":
        states = states_of * FULL * (1 + optimizer.numbers)  # it flattens the tensors: one count of steps for a group
    else:
        tensors = sum(each.trained for each in size.parameters)
        states = states_of * width * optimizer.numbers + tensors * optimizer.bytes_per_tensor
    host = 0
    if strategy.offload != "none":
        host, states = states, 0
        if strategy.zero_stage != 1:  # whose gradients are not shared out, and stay
            host, gradients = host + states_of * FULL, 0
    if strategy.offload == "all":
        host, weights = host + weights, 0
    return ModelStates(
        weights=weights + buffers, gradients=gradients, optimizer=states, averages=size.averages, host=host
    )


def _shared(size: ModelSize, strategy: Strategy, workers: int) -> tuple[int, int, int]:
    """Numbers of weights, of gradients and of those with optimizer states, on the worker that has most."""
    trained = [each for each in size.parameters if each.trained]
    flat = share(size.trainable, workers)
    match strategy.name, strategy.zero_stage:
        case "fsdp", _:
            # FSDP2 shares whole rows, and pads the last worker's.
            mine = {
                id(each): share(each.rows, workers) * (each.elements // max(each.rows, 1)) for each in size.parameters
            }
            own = sum(mine[id(each)] for each in trained)
            return sum(mine.values()), own, own
        case "deepspeed", 1:
            return size.total, size.trainable, flat
        case "deepspeed", 2:
            return size.total, flat, flat
        case "deepspeed", _:
            # Stage 3 shares each tensor by itself.
            own = sum(share(each.elements, workers) for each in trained)
            return sum(share(each.elements, workers) for each in size.parameters), own, own
        case _:
            return size.total, size.trainable, size.trainable


def deepspeed_estimate(parameters: int, *, stage: int, workers: int, largest_layer: int = 0) -> int | None:
    """Bytes a GPU of DeepSpeed's own estimator without offloading; None for stage 1, for which it has none.

    `estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` of deepspeed.runtime.zero count
    32-bit gradients beside the 16-bit ones, 2 N + 18 N / n at stage 2 against the paper's 2 N + 14 N / n: DeepSpeed
    makes them when it steps. Stage 3 has 4 bytes a parameter of the largest layer besides, which is gathered.

    Args:
        parameters: of the model.
        stage: of ZeRO.
        workers: one GPU each.
        largest_layer: parameters of the layer that has most.
    """
    match stage:
        case 2:
            return 2 * parameters + int(18 * parameters / workers)
        case 3:
            return 4 * largest_layer + int(18 * parameters / workers)
        case _:
            return None
