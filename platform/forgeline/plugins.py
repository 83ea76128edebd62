"""The four plug-in groups. An entry point names a light descriptor; what it describes is imported when it is used.

An architecture may answer to more names than its own (`resnet18` is answered by the timm family), so lookups go
through `find`, which asks the descriptors for their names only when no entry point has the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from forgeline.errors import ForgelineError, SpecError
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

KINDS = "forgeline.kinds"
ARCHITECTURES = "forgeline.architectures"
DATA = "forgeline.data"
COMMANDS = "forgeline.commands"


@runtime_checkable
class Descriptor(Protocol):
    """What every plug-in tells about itself without importing anything heavy."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...


class ConfiguredDescriptor(Descriptor, Protocol):
    """A plug-in that is configured by a part of the spec."""

    def config_model(self) -> type[BaseModel]: ...


class ArchitectureDescriptor(ConfiguredDescriptor, Protocol):
    """A family of models."""

    @property
    def family(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def paper(self) -> str: ...
    @property
    def when(self) -> str: ...
    @property
    def when_not(self) -> str: ...
    @property
    def cost(self) -> str: ...
    def description(self, name: str) -> Any: ...
    def measurements(self) -> Sequence[Any]: ...
    def model_names(self) -> Sequence[str]: ...
    def check(self, config: Mapping[str, Any], signature: Mapping[str, Any]) -> None: ...
    def build_model(self, config: Mapping[str, Any], signature: Mapping[str, Any]) -> torch.nn.Module: ...
    def build_module(
        self, config: Mapping[str, Any], signature: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Any: ...


class DataDescriptor(ConfiguredDescriptor, Protocol):
    """A data set, or a way to read the user's own."""

    @property
    def modality(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    def prepare(self, config: Any) -> Any: ...


def load_object(path: str) -> Any:
    """The object at `package.module:attribute`."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _entries(group: str) -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        known = found.get(entry.name)
        # An editable install beside a wheel lists the same entry twice: that is one plug-in, not a conflict.
        if known is not None and known.value != entry.value:
            raise ForgelineError(
                f"two packages register {entry.name!r} in {group}: {known.value} and {entry.value}; "
                "uninstall one of them"
            )
        found[entry.name] = entry
    return found


def names(group: str) -> list[str]:
    """Registered names of a group, sorted."""
    return sorted(_entries(group))


def descriptor(group: str, name: str) -> Descriptor:
    """The descriptor registered under exactly this name.

    Raises:
        ForgelineError: the plug-in's own import fails.
        KeyError: nothing is registered under the name.
    """
    entry = _entries(group)[name]
    try:
        return cast(Descriptor, entry.load())
    except Exception as error:
        raise ForgelineError(f"plug-in {name!r} ({entry.value}) cannot be loaded: {error}") from error


def descriptors(group: str) -> Iterator[Descriptor]:
    """All descriptors of a group, by name."""
    return (descriptor(group, name) for name in names(group))


def all_names(group: str) -> list[str]:
    """Every name that `find` answers to, the names inside families included."""
    known: set[str] = set()
    for plugin in descriptors(group):
        known |= _answers(plugin)
    return sorted(known)


def find(group: str, name: str, *, key: str) -> Descriptor:
    """The plug-in that answers to `name`.

    Args:
        group: one of the four groups.
        name: as written in the spec.
        key: the spec key that held the name, for the message.

    Raises:
        SpecError: nothing answers to the name; the message has the nearest one.
    """
    if name in _entries(group):
        plugin = descriptor(group, name)
        if name in _answers(plugin):
            return plugin
    for plugin in descriptors(group):
        if name in _answers(plugin):
            return plugin
    what = group.removeprefix("forgeline.").removesuffix("s")
    raise SpecError(f"unknown {what} {name!r}; {did_you_mean(name, all_names(group), first=names(group))}", key=key)


def _answers(plugin: Descriptor) -> set[str]:
    members: Callable[[], Sequence[str]] | None = getattr(plugin, "model_names", None)
    return set(members()) if members is not None else {plugin.name}
