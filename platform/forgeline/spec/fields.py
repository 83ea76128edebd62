"""Which keys a pydantic model knows at a place of a document, through unions, lists, mappings and plug-in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forgeline.errors import SpecError
from forgeline.spec.parts import PluginPart
from forgeline.spec.source import KeyPath


def keys_at(model: type[BaseModel], path: KeyPath, data: Any) -> set[str]:
    """The keys that may stand in the mapping at `path`; none where it is not one of a model."""
    found: list[Any] = [model]
    for part in path:
        found = [inner for one in found for inner in _into(one, part, data)]
        data = _item(data, part)
    return {key for one in found for choice in _choices(one, data) for key in _keys(choice)}


def all_paths(model: type[BaseModel], data: Any, base: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a model and of the blocks inside it, outer ones first."""
    if len(base) > 3:
        return
    fields = {_key(name, info): info for name, info in model.model_fields.items()}
    yield from ((*base, key) for key in fields)
    for key, info in fields.items():
        for choice in _choices(_annotation(info), _item(data, key)):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                yield from all_paths(choice, _item(data, key), (*base, key))


def _into(annotation: Any, part: str | int, data: Any) -> Iterator[Any]:
    for choice in _choices(annotation, data):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            yield from (_annotation(info) for name, info in choice.model_fields.items() if _key(name, info) == part)
        elif isinstance(origin := get_origin(choice), type) and issubclass(origin, Mapping):
            yield get_args(choice)[1]
        elif isinstance(origin, type) and issubclass(origin, Sequence | frozenset | set):
            yield from (item for item in get_args(choice) if item is not ...)


def _choices(annotation: Any, data: Any) -> list[Any]:
    """What an annotation may stand for, narrowed to the models whose literal fields agree with the data."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        part = next((item for item in metadata if isinstance(item, PluginPart)), None)
        return _choices(inner, data) if part is None else _part(part, data)
    if get_origin(annotation) in (Union, UnionType):
        flat = [choice for inner in get_args(annotation) for choice in _choices(inner, data)]
        return [choice for choice in flat if _agrees(choice, data)] or flat
    return [annotation]


def _part(part: PluginPart, data: Any) -> list[Any]:
    name = _item(data, "name")
    try:
        return [part.model_for(name)] if isinstance(name, str) else []
    except SpecError:
        return []


def _agrees(choice: Any, data: Any) -> bool:
    if not (isinstance(choice, type) and issubclass(choice, BaseModel)):
        return False
    literals = [
        (_key(name, info), get_args(info.annotation))
        for name, info in choice.model_fields.items()
        if get_origin(info.annotation) is Literal
    ]
    return all(_item(data, key) in (None, *allowed) for key, allowed in literals)


def _keys(choice: Any) -> Iterator[str]:
    if isinstance(choice, type) and issubclass(choice, BaseModel):
        yield from (_key(name, info) for name, info in choice.model_fields.items())
    elif isinstance(origin := get_origin(choice), type) and issubclass(origin, Mapping):
        yield from (name for name in get_args(get_args(choice)[0]) if isinstance(name, str))


def _key(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _annotation(info: FieldInfo) -> Any:
    part = next((item for item in info.metadata if isinstance(item, PluginPart)), None)
    return info.annotation if part is None else Annotated[BaseModel, part]


def _item(data: Any, part: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(part)
    return data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None
