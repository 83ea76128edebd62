"""The model built as the workers will build it, before Ray starts, on torch's meta device: without memory for weights.

Only for what the model alone can refuse: patterns of parameter names, weights of another library, timm's options.
Importing torch takes seconds, which other specs are spared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from forgeline import plugins
from forgeline.errors import SpecError
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_jobs.train.preparation import module_options
from forgeline_jobs.train.strategies.checks import no_blocks

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forgeline.plugins import ArchitectureDescriptor
    from forgeline_architectures.tasks.base import TaskModule
    from forgeline_jobs.data.base import PreparedData
    from forgeline_jobs.train.spec import TrainSpec


def needed(spec: TrainSpec) -> bool:
    """Whether the spec has something that only the model can refuse; torch is not imported."""
    patterns = (*spec.fine_tune.freeze, *spec.fine_tune.learning_rates, *spec.optimizer.decay_only)
    settings = _settings(spec.architecture.model_dump(mode="json"))
    return (
        bool(patterns)
        or spec.trainer.gradient_checkpointing
        or any(name == "options" and value for name, value in settings)
        or _from_weights(spec)
    )


def check(spec: TrainSpec, data: PreparedData, *, total_steps: int) -> None:
    """Build the model, match the patterns against its parameters, and hold the weights to start from against it.

    Weights of the hub that are not in its cache are held against the model by their config alone.

    Args:
        spec: of the run.
        data: what it learns from.
        total_steps: optimiser steps of the run.

    Raises:
        SpecError: what does not fit, and the key to change.
    """
    key = "architecture.options" if getattr(spec.architecture, "options", None) else "architecture"
    options = module_options(spec, data, total_steps=total_steps) | {"freeze": (), "learning_rates": {}}
    module = _built(without_weights(spec.architecture), data, options, key=key)
    if module is not None:
        _match(module, spec, data)
    if _from_weights(spec):
        _built(spec.architecture, data, options, key="architecture.pretrained")


def rehearsed(spec: TrainSpec, data: PreparedData, *, total_steps: int) -> TaskModule | None:
    """The module to train without numbers: what is frozen is frozen, and adapters are in their places.

    Args:
        spec: of the run, which `check` has passed.
        data: what it learns from.
        total_steps: optimiser steps of the run.

    Returns:
        None where it cannot be built without numbers.

    Raises:
        SpecError: the model cannot be built, and the key to change.
    """
    import torch

    from forgeline_jobs.train import transfer

    options = module_options(spec, data, total_steps=total_steps)
    module = _built(without_weights(spec.architecture), data, options, key="architecture")
    if module is not None:
        with torch.device("meta"):
            transfer.begin(module, spec, data, source=None)
    return module


def without_weights(architecture: BaseModel) -> BaseModel:
    """The same model, not starting from another library's weights."""
    return architecture.without_weights() if isinstance(architecture, ArchitectureConfig) else architecture


def _built(architecture: BaseModel, data: PreparedData, options: Mapping[str, Any], *, key: str) -> TaskModule | None:
    """The module to train, without numbers; None where it cannot be built so, which says nothing against it."""
    import torch

    from forgeline_architectures.hub import NotCached

    config, signature = architecture.model_dump(mode="json"), data.signature.model_dump(mode="json")
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's weights are copied to nowhere, parameter by parameter
            return cast("TaskModule", _family(architecture).build_module(config, signature, options))
    except NotCached:
        return None
    except ValueError as error:
        if _without_numbers(error):
            return None
        raise SpecError(str(error), key=key) from error
    except (NotImplementedError, RuntimeError):
        return None  # somebody else's family may compute while it is built


def _match(module: TaskModule, spec: TrainSpec, data: PreparedData) -> None:
    import torch

    from forgeline_architectures.optimisation.parameters import (
        check_parts_learn,
        decayed_names,
        freeze,
        learning_rate_factors,
    )
    from forgeline_jobs.train import transfer
    from forgeline_jobs.train.strategies.plan import FamilyPlan

    tuning, model = spec.fine_tune, module.model
    if spec.trainer.gradient_checkpointing and not FamilyPlan(_family(spec.architecture)).blocks(model):
        raise no_blocks(spec)
    _matched(lambda: freeze(model, tuning.freeze), option="freeze", key="fine_tune.freeze")
    if tuning.freeze and getattr(_family(spec.architecture), "own_steps", False):
        parts = ("generator", "discriminator")
        _matched(lambda: check_parts_learn(model, parts), option="freeze", key="fine_tune.freeze")
    if tuning.adapter is not None:  # with which parameters have other names
        with torch.device("meta"):
            transfer.begin(module, spec, data, source=None)
    _matched(
        lambda: learning_rate_factors(model, tuning.learning_rates),
        option="learning_rates",
        key="fine_tune.learning_rates",
    )
    decayed = "optimizer.decay_only"
    _matched(lambda: decayed_names(model, spec.optimizer.decay_only), option=decayed, key=decayed)


def _matched(match: Callable[[], object], *, option: str, key: str) -> None:
    try:
        match()
    except ValueError as error:
        raise SpecError(str(error).removeprefix(f"{option}: "), key=key) from error


def _family(architecture: BaseModel) -> ArchitectureDescriptor:
    found = plugins.find(plugins.ARCHITECTURES, cast(Any, architecture).name, key="architecture.name")
    return cast("ArchitectureDescriptor", found)


def _from_weights(spec: TrainSpec) -> bool:
    """Whether training starts from weights that the spec names; timm's own, `true`, are not fetched for a check."""
    settings = _settings(spec.architecture.model_dump(mode="json"))
    return any(name == "pretrained" and isinstance(value, str) for name, value in settings)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values of a config and of those within it."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, Mapping) and name != "options":
            yield from _settings(value)


def _without_numbers(error: BaseException) -> bool:
    """Whether the cause is not the config: something asked a tensor for numbers that it does not have here."""
    cause = error.__cause__
    return isinstance(cause, NotImplementedError | RuntimeError) and "meta tensor" in str(cause)
