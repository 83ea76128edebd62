"""Training that starts from models of ours: which bundles, what fits, and what of them the new model takes over.

The driver finds each bundle once, so that every worker and every attempt starts from the same one though an alias
moves. Modules that start from a bundle of their own (`fine_tune.parts`) do so whatever the rest starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.bundle.manifest import WEIGHTS
from forgeline.bundle.weights import read_shapes, read_weights
from forgeline.errors import ForgelineError, SpecError
from forgeline_jobs.train import parts

if TYPE_CHECKING:
    from forgeline_architectures.descriptor import Architecture
    from forgeline_architectures.tasks.base import TaskModule
    from forgeline_jobs.data.base import PreparedData
    from forgeline_jobs.train.spec import TrainSpec

KEY = "fine_tune.pretrained"
_SHOWN = 4


def find(spec: TrainSpec) -> Bundle | None:
    """The bundle that training starts from; None where it starts from elsewhere.

    Raises:
        SpecError: there is no such model, or it is damaged.
    """
    reference = spec.fine_tune.pretrained
    if reference is None:
        return None
    try:
        return Bundle.load(reference)
    except SpecError:
        raise
    except ForgelineError as error:
        raise SpecError(str(error), key=KEY) from error


def check(spec: TrainSpec, data: PreparedData) -> None:
    """Hold the trained models and the adapter against the model to be trained, before anything starts.

    Raises:
        SpecError: they do not fit.
    """
    bundle = find(spec)
    fresh = frozenset() if bundle is None else fresh_names(spec, data, bundle)
    taken = parts.check(spec, data)
    if spec.fine_tune.adapter is not None:
        if taken and bundle is None and not getattr(spec.architecture, "pretrained", None):
            fresh = _all_names(spec, data)
        _check_adapter(spec, data, fresh - taken)


def fresh_names(spec: TrainSpec, data: PreparedData, bundle: Bundle) -> frozenset[str]:
    """Names of the weights that are not taken over from the bundle.

    Raises:
        SpecError: the bundle's model is of another architecture, reads other data, or has other weights; or a last
            layer is to be replaced that there is not.
    """
    from forgeline_architectures.transfer import fresh_weights

    name = spec.architecture.name
    if bundle.name != name:
        raise SpecError(
            f"{spec.fine_tune.pretrained!r} is a {bundle.name}; set architecture.name to {bundle.name}, or name a "
            f"trained {name}",
            key=KEY,
        )
    _check_inputs(data, bundle)
    new_head = spec.fine_tune.replace_head or _answers(data) != _answers(bundle)
    shapes = read_shapes(bundle.folder / WEIGHTS)
    try:
        fresh = fresh_weights(_family(spec), *_config_and_signature(spec, data), shapes, new_head=new_head)
    except ValueError as error:
        raise SpecError(f"{spec.fine_tune.pretrained!r}: {error}", key=KEY) from error
    if spec.fine_tune.replace_head and not fresh:
        raise SpecError(
            f"got true; {name} learns {data.signature.task}, which has no last layer that classes or targets tell: set "
            "it to false",
            key="fine_tune.replace_head",
        )
    return fresh


def begin(
    module: TaskModule,
    spec: TrainSpec,
    data: PreparedData,
    *,
    source: str | None,
    sources_of_parts: Mapping[str, str] | None = None,
) -> None:
    """Give a fresh module the weights to start from and its adapters.

    Args:
        module: as the architecture built it; changed in place.
        spec: of the run.
        data: what it learns from.
        source: folder of the bundle to start from; None when a checkpoint brings the weights, or there is none.
        sources_of_parts: the same of modules that start from a bundle of their own, by their names.
    """
    weights = parts.read(spec, data, sources_of_parts) if sources_of_parts else {}
    if source is not None:
        bundle = Bundle.load(source)
        fresh = fresh_names(spec, data, bundle) - weights.keys()
        module.start_from({**read_weights(bundle.folder / WEIGHTS), **weights}, fresh=fresh)
    elif weights:
        module.start_from(weights, fresh=module.model.state_dict().keys() - weights.keys())
    if spec.fine_tune.adapter is not None:
        module.adapt(spec.fine_tune.adapter, trained=_head(spec, data))


def _check_inputs(data: PreparedData, bundle: Bundle) -> None:
    """Refuse a model that reads something else; columns of a table must be the same, in their order."""
    here, there = data.preprocessing, bundle.preprocessing
    if here.kind != there.kind:
        raise SpecError(f"its model reads {there.kind} data, and data.name gives {here.kind}", key=KEY)
    if here.kind == "table" and here.schema()["inputs"] != there.schema()["inputs"]:
        mine, theirs = ([column["name"] for column in side.schema()["inputs"]] for side in (here, there))
        raise SpecError(
            f"its model reads the columns {', '.join(theirs)}; the data have {', '.join(mine)}: change data", key=KEY
        )


def _answers(side: PreparedData | Bundle) -> object:
    """What a model's outputs mean: classes, targets, or tokens."""
    preprocessing = side.preprocessing
    names = preprocessing.target_names if preprocessing.classes is None else preprocessing.classes
    return names, parts.tokens_of(side)


def _check_adapter(spec: TrainSpec, data: PreparedData, fresh: frozenset[str]) -> None:
    import torch

    from forgeline_architectures.optimisation.adapters import adapted_layers, trained_whole

    adapter = spec.fine_tune.adapter
    assert adapter is not None
    try:
        with torch.device("meta"):
            model = _family(spec).build_model(*_config_and_signature(spec, data))
        adapted_layers(model, adapter.layers)
        whole = trained_whole(model, adapter, _head(spec, data))
    except ValueError as error:
        raise SpecError(str(error), key="fine_tune.adapter") from error
    untrained = sorted((fresh & {name for name, _ in model.named_parameters()}) - whole)
    if untrained:
        shown = ", ".join(untrained[:_SHOWN]) + (f" and {len(untrained) - _SHOWN} more" if untrained[_SHOWN:] else "")
        raise SpecError(
            f"{shown} cannot be taken over from {spec.fine_tune.pretrained or 'fine_tune.parts'!r} and would stay "
            "untrained; name them here",
            key="fine_tune.adapter.train",
        )


def _head(spec: TrainSpec, data: PreparedData) -> frozenset[str]:
    """What is trained whole beside adapters: the last layer, but a language model's tokens are what they were."""
    from forgeline_architectures.transfer import head_of

    if data.signature.task == "language_modelling":
        return frozenset()
    return head_of(_family(spec), *_config_and_signature(spec, data))


def _all_names(spec: TrainSpec, data: PreparedData) -> frozenset[str]:
    from forgeline_architectures.transfer import shapes_of

    return frozenset(shapes_of(_family(spec), *_config_and_signature(spec, data)))


def _config_and_signature(spec: TrainSpec, data: PreparedData) -> tuple[dict[str, object], dict[str, object]]:
    return spec.architecture.model_dump(mode="json"), data.signature.model_dump(mode="json")


def _family(spec: TrainSpec) -> Architecture:
    found = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
    return cast("Architecture", found)
