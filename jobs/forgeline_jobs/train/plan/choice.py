"""The strategy and micro-batch that suit a device: the least sending that fits, then the largest micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgeline_jobs.train.plan.activation_count import ActivationCount
from forgeline_jobs.train.plan.model_states import ModelStates, Strategy

if TYPE_CHECKING:
    from forgeline_jobs.train.spec import TrainSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a worker needs under a strategy.

    Attributes:
        strategy: which.
        states: bytes of model states.
        activations: bytes of a micro-batch; None where they could not be counted.
    """

    strategy: Strategy
    states: ModelStates
    activations: ActivationCount | None

    def device(self, micro_batch: int) -> int:
        """Bytes on the device with so many samples at once."""
        return self.states.device + (0 if self.activations is None else self.activations.of(micro_batch))


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What fits.

    Attributes:
        need: of the chosen strategy.
        micro_batch: samples that go through the model together on a worker.
        pieces: micro-batches that a worker's share of the batch is cut into.
        why: in words.
    """

    need: Need
    micro_batch: int
    pieces: int
    why: str

    @property
    def device(self) -> int:
        """Bytes on the device."""
        return self.need.device(self.micro_batch)


def choose(
    needs: Sequence[Need], *, usable: int, each: int, fewest: int = 1, fixed: int | None = None
) -> Choice | None:
    """The first strategy that fits with any micro-batch, and the largest micro-batch that fits with it.

    Args:
        needs: of the strategies, by what they send, least first.
        usable: bytes of the device.
        each: samples of a batch on each worker.
        fewest: samples that the model takes at least.
        fixed: the micro-batch, where it is not to be chosen.

    Returns:
        None where nothing fits.
    """
    sizes = list(divisors(each, fewest)) if fixed is None else [fixed]
    passed: list[str] = []
    for need in needs:
        micro_batch = next((size for size in sizes if need.device(size) <= usable), None)
        if micro_batch is not None:
            return Choice(
                need=need,
                micro_batch=micro_batch,
                pieces=each // micro_batch,
                why=_why(passed, micro_batch, each, fixed),
            )
        passed.append(str(need.strategy))
    return None


def choose_open(spec: TrainSpec, needs: Sequence[Need], *, usable: int, fewest: int = 1) -> Choice | None:
    """What a run takes where its spec leaves it open.

    Args:
        spec: of the run.
        needs: of the strategies that can train it, by what they send, least first.
        usable: bytes of the device.
        fewest: samples that the model takes at least.

    Returns:
        None where nothing fits, or nothing is known of the spec's own strategy.
    """
    size = spec.trainer.micro_batch
    fixed = None if size == "auto" else size or spec.share
    needs = sensible(spec, needs)
    rows = (
        needs if spec.strategy.name == "auto" else [need for need in needs if need.strategy.config() == spec.strategy]
    )
    return choose(rows, usable=usable, each=spec.share, fewest=fewest, fixed=fixed)


def sensible(spec: TrainSpec, needs: Sequence[Need]) -> list[Need]:
    """Those that help: on CPUs what is kept on the host is where it was."""
    return [need for need in needs if spec.resources.gpus_per_worker or need.strategy.offload == "none"]


def divisors(number: int, fewest: int = 1) -> Iterator[int]:
    """What divides a number, largest first, down to `fewest`; the number itself always.

    >>> list(divisors(12, 3)), list(divisors(1, 2))
    ([12, 6, 4, 3], [1])
    """
    yield number
    yield from (size for size in range(number // 2, max(fewest, 1) - 1, -1) if number % size == 0)


def _why(passed: Sequence[str], micro_batch: int, each: int, fixed: int | None) -> str:
    first = (
        f"{', '.join(passed)} would not fit; of those that fit it sends least"
        if passed
        else "it fits, and nothing sends less"
    )
    if fixed is not None:
        return first
    return f"{first}; " + (
        "the whole batch fits at once"
        if micro_batch == each
        else f"{micro_batch} is the largest part of the worker's {each} samples that fits"
    )
