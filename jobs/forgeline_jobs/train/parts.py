"""Modules of the model to be trained that start from modules of trained models, whatever the others start from.

Each must have the same weights by name and shape, and where it has a weight for each token, the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.bundle.manifest import WEIGHTS
from forgeline.bundle.weights import read_weights
from forgeline.errors import ForgelineError, SpecError
from forgeline.spec.source import dotted
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from forgeline_architectures.descriptor import Architecture
    from forgeline_architectures.parts import Parts
    from forgeline_jobs.data.base import PreparedData
    from forgeline_jobs.train.spec import TrainSpec

_SHOWN = 4


def find(spec: TrainSpec) -> dict[str, Bundle]:
    """The bundle that each module starts from, by the module's name; one that several start from is loaded once.

    Raises:
        SpecError: there is no such model, or it is damaged.
    """
    loaded: dict[str, Bundle] = {}
    for name, config in spec.fine_tune.parts.items():
        if config.model in loaded:
            continue
        try:
            loaded[config.model] = Bundle.load(config.model)
        except ForgelineError as error:
            raise SpecError(str(error), key=_key(name, "model")) from error
    return {name: loaded[config.model] for name, config in spec.fine_tune.parts.items()}


def check(spec: TrainSpec, data: PreparedData) -> frozenset[str]:
    """Hold each module against the one that it starts from.

    Returns:
        Names of the weights that are taken over, in the state dict of the model to be trained.

    Raises:
        SpecError: there is no such module, or they do not fit.
    """
    if not spec.fine_tune.parts:
        return frozenset()
    here, bundles = _parts_of(data, spec), find(spec)
    for name, bundle in bundles.items():
        _check_part(spec, data, here, name, bundle)
    return frozenset[str]().union(*(here.weights(name) for name in bundles))


def read(spec: TrainSpec, data: PreparedData, folders: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights that are taken over, under their names in the state dict of the model to be trained.

    Args:
        spec: of the run, checked.
        data: what it learns from.
        folders: of the bundles, by the names of the modules that start from them.
    """
    here = _parts_of(data, spec)
    return {
        here.place(name) + inside: tensor
        for name, folder in folders.items()
        for inside, tensor in _within(Bundle.load(folder), spec.fine_tune.parts[name].part or name)
    }


def tokens_of(side: PreparedData | Bundle) -> object:
    """What numbers the tokens that a model reads or writes; equal where a number means the same token."""
    return tuple(getattr(side.preprocessing, name, None) for name in ("tokenizer", "symbols", "words"))


def _within(bundle: Bundle, part: str) -> Iterator[tuple[str, Tensor]]:
    place = _parts_of(bundle).place(part)
    path: Path = bundle.folder / WEIGHTS
    for name, tensor in read_weights(path).items():
        if name.startswith(place):
            yield name.removeprefix(place), tensor


def _check_part(spec: TrainSpec, data: PreparedData, here: Parts, name: str, bundle: Bundle) -> None:
    config = spec.fine_tune.parts[name]
    if name not in here.names:
        raise SpecError(
            f"{spec.architecture.name} has no module {name!r} that has weights; {_meant(name, here)}",
            key=dotted(("fine_tune", "parts", name)),
        )
    part = config.part or name
    try:
        there = _parts_of(bundle)
    except (ForgelineError, RuntimeError, TypeError, ValueError) as error:
        raise SpecError(f"{config.model!r} cannot be built: {error}", key=_key(name, "model")) from error
    if part not in there.names:
        raise SpecError(
            f"{config.model!r} is a {bundle.name}, which has no module {part!r} that has weights; "
            f"{_meant(part, there)}",
            key=_key(name, "part"),
        )
    if tokens_of(data) != tokens_of(bundle) and here.numbered(name):
        raise SpecError(
            f"{part} of {config.model!r} has a weight for each of its tokens, and the data have other ones"
            f"{_other_words(data, bundle)}: its model must be trained on data of the same tokens; change data, or name "
            "another model",
            key=_key(name, "model"),
        )
    try:
        here.check_fits(name, there, part)
    except ValueError as error:
        raise SpecError(
            f"{part} of {config.model!r} ({bundle.name}) is not {name} of {spec.architecture.name}: {error}; give "
            "architecture and data the settings of the trained model",
            key=_key(name, "model"),
        ) from error


def _other_words(data: PreparedData, bundle: Bundle) -> str:
    """Words or symbols that one side alone has, in brackets."""
    here, there = (
        set(getattr(side.preprocessing, "words", None) or getattr(side.preprocessing, "symbols", None) or ())
        for side in (data, bundle)
    )
    found = [
        f"{', '.join(sorted(words)[:_SHOWN])}{', …' if len(words) > _SHOWN else ''} {where} alone"
        for words, where in ((there - here, "there"), (here - there, "here"))
        if words and here and there
    ]
    return f" ({'; '.join(found)})" if found else ""


def _parts_of(side: PreparedData | Bundle, spec: TrainSpec | None = None) -> Parts:
    """The modules of a bundle's model, or of the one that a spec's data are for.

    Raises:
        SpecError: the architecture is not installed.
        ValueError: it cannot be built.
    """
    from forgeline_architectures.parts import Parts

    if isinstance(side, Bundle):
        name, config, signature = side.name, side.manifest.architecture, side.manifest.signature
    else:
        assert spec is not None
        name, config = spec.architecture.name, spec.architecture.model_dump(mode="json")
        signature = side.signature.model_dump(mode="json")
    family = plugins.find(plugins.ARCHITECTURES, name, key="architecture.name")
    return Parts(cast("Architecture", family), config, signature)


def _meant(name: str, known: Parts) -> str:
    return did_you_mean(name, known.names, first=[name for name in known.names if "." not in name])


def _key(name: str, setting: str) -> str:
    return dotted(("fine_tune", "parts", name, setting))
