"""What `auto` takes when a run starts, found out where its workers will be.

Counting on the model takes torch, seconds and memory: it is done in a process of Ray's that ends afterwards, never in
the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import ForgelineError, RunCancelled, RunFailed, SpecError
from forgeline.spec.loading import dump, load
from forgeline_jobs.train.places import all_rooms, per_worker
from forgeline_jobs.train.plan.choice import divisors, sensible
from forgeline_jobs.train.plan.devices import Device, device_of, size_in_words
from forgeline_jobs.train.plan.model_states import STRATEGIES

if TYPE_CHECKING:
    from ray import ObjectRef

    from forgeline.spec.envelope import Resources
    from forgeline_jobs.train.plan.needs import Needs
    from forgeline_jobs.train.spec import TrainSpec
    from forgeline_jobs.train.strategies.config import StrategyConfig

POLL_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a run takes.

    Attributes:
        strategy: in words, one of those of `STRATEGIES`; None where the spec says it.
        micro_batch: samples that fit together; None where the spec says it.
        why: they were taken, in words.
    """

    strategy: str | None = None
    micro_batch: int | None = None
    why: str

    @property
    def config(self) -> StrategyConfig | None:
        """The strategy as a spec asks for it.

        Raises:
            RunFailed: it was written down by a Forgeline that has others.
        """
        if self.strategy is None:
            return None
        found = next((strategy for strategy in STRATEGIES if str(strategy) == self.strategy), None)
        if found is None:
            raise RunFailed(f"strategy auto: the run has {self.strategy!r}, which this Forgeline does not know")
        return found.config()


def is_open(spec: TrainSpec) -> bool:
    """Whether anything is to be taken."""
    return spec.strategy.name == "auto" or spec.trainer.micro_batch == "auto"


def take(spec: TrainSpec, *, stopped: Callable[[], bool]) -> Taken:
    """What fits where the workers will be; Ray is up.

    Args:
        spec: of the run, with a certain number of workers.
        stopped: whether the run was asked to stop.

    Raises:
        SpecError: the strategy is to be taken, and none fits.
        RunCancelled: the run was asked to stop.
        RunFailed: it could not be found out.
    """
    device = _smallest(spec.resources, stopped=stopped)
    cpus = {"num_cpus": spec.resources.cpus_per_worker}
    [told] = _answers([_ask(_choose, dump(spec), device.name, device.memory, options=cpus)], stopped=stopped)
    if told["micro_batch"] is None:
        raise SpecError(f"got auto, and nothing fits {device.in_words}: {told['why']}", key="strategy")
    return Taken(
        strategy=told["strategy"] if spec.strategy.name == "auto" else None,
        micro_batch=told["micro_batch"] if spec.trainer.micro_batch == "auto" else None,
        why=f"{device.in_words}: {told['why']}",
    )


def _smallest(resources: Resources, *, stopped: Callable[[], bool]) -> Device:
    """Of the devices that workers may get, the one with the least memory.

    Raises:
        RunFailed: there is none.
    """
    gpus = {"num_gpus": min(resources.gpus_per_worker, 1.0)} if resources.gpus_per_worker else {}
    asked = [
        _ask(
            device_of, resources, min(room, resources.most_workers), options={"num_cpus": 0, **gpus, **_bound_to(node)}
        )
        for node, room in all_rooms(per_worker(resources)).items()
    ]
    found = [device for device in _answers(asked, stopped=stopped) if device is not None]
    if not found:
        raise RunFailed("no node has a device for a worker", reason="platform_error")
    return cast("Device", min(found, key=lambda device: device.memory))


def _choose(text: str, name: str, memory: int) -> Mapping[str, Any]:
    """The choice for a device, made in a process of its own.

    Args:
        text: the resolved spec.
        name: of the device.
        memory: bytes of it for a worker.
    """
    from forgeline_jobs.train.plan.choice import choose_open
    from forgeline_jobs.train.plan.needs import Rehearsal
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.schedule import Schedule

    spec = cast("TrainSpec", load(text, stored=True).spec)
    data = prepare(spec.data, verify=False)
    schedule = Schedule.of_run(spec, len(data.splits["train"]))
    rehearsal = Rehearsal(spec, data, total_steps=schedule.total_steps)
    needs = rehearsal.needs()
    device = Device(name=name, memory=memory)
    chosen = choose_open(spec, needs.rows, usable=device.usable, fewest=rehearsal.fewest)
    if chosen is not None:
        why = "; ".join(filter(None, (chosen.why, needs.uncounted)))
        return {"strategy": str(chosen.need.strategy), "micro_batch": chosen.micro_batch, "why": why}
    return _if_nothing_fits(spec, needs, fewest=rehearsal.fewest)


def _if_nothing_fits(spec: TrainSpec, needs: Needs, *, fewest: int) -> Mapping[str, Any]:
    if spec.strategy.name != "auto":
        known = any(need.strategy.config() == spec.strategy for need in needs.rows)
        smallest = min(divisors(spec.share, fewest))
        if known:
            return {"strategy": None, "micro_batch": smallest, "why": f"{smallest} is the least, and would not fit"}
        why = f"{spec.strategy.name} has settings that are not planned for; it starts with all samples at once"
        return {"strategy": None, "micro_batch": spec.share, "why": why}
    size = spec.trainer.micro_batch
    samples = min(divisors(spec.share, fewest)) if size == "auto" else size or spec.share
    least = min(sensible(spec, needs.rows), key=lambda need: need.device(samples))
    why = (
        f"{least.strategy} needs least, {size_in_words(least.device(samples))} with {samples} samples at once; take "
        "more workers, trainer.micro_batch or trainer.gradient_checkpointing, or name a strategy to try it all the same"
    )
    return {"strategy": None, "micro_batch": None, "why": why}


def _bound_to(node: str) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)}


def _ask(function: Callable[..., Any], *arguments: object, options: Mapping[str, Any]) -> ObjectRef[Any]:
    """Start a function in a process of Ray's that ends with it."""
    import ray

    return cast("ObjectRef[Any]", ray.remote(max_calls=1, max_retries=0, **options)(function).remote(*arguments))


def _answers(asked: Sequence[ObjectRef[Any]], *, stopped: Callable[[], bool]) -> list[Any]:
    """What they return; a node that is gone meanwhile has nothing to say.

    Raises:
        RunCancelled: the run was asked to stop.
        ForgelineError: what one of them raised.
        RunFailed: none of them answers.
    """
    import ray

    waiting = list(asked)
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_S)
        if stopped():
            for one in waiting:
                ray.cancel(one, force=True)
            raise RunCancelled("stopped before the first step")
    answers, last = [], None
    for one in asked:
        try:
            answers.append(ray.get(one))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ForgelineError):
                raise error.cause from error
            raise RunFailed(f"what the run takes could not be found out: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            last = error
    if asked and not answers:
        raise RunFailed(f"what the run takes could not be found out: {last}") from last
    return answers
