"""`--set a.b.c=value` and its Python form: values laid over a document before it is checked.

A path may lead where nothing is yet (validation finds a wrong key later), but not into a scalar.
A document is never changed: aliases share values, so everything along a path is copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, TypeVar

from forgeline.errors import SpecError
from forgeline.masking import SECRET, looks_secret
from forgeline.spec.source import MAX_DEPTH, Document, KeyPath, dotted, kind_of, parse_value

Known = TypeVar("Known")

_SEGMENT = re.compile(r'"([^"]*)"|([^."=\s]+)')


@dataclass(frozen=True, kw_only=True)
class Override:
    """One value to lay over a document.

    Attributes:
        path: keys from the top, all text; a list takes a number.
        value: what to put there.
        text: how it is named in a message, secrets masked.
    """

    path: tuple[str, ...]
    value: Any
    text: str


def parse_overrides(given: Mapping[str, Any] | Sequence[str]) -> list[Override]:
    """Overrides of `--set` texts (`["optimizer.lr=3e-4"]`) or of a mapping (`{"optimizer.lr": 3e-4}`).

    Raises:
        SpecError: a text is not `key=value`, or a value cannot stand in a specification.
    """
    if isinstance(given, str):
        raise SpecError(f"got the string {given!r}; expected a list of `key=value` texts or a mapping", source="set")
    if isinstance(given, Mapping):
        return [_from_pair(key, value) for key, value in given.items()]
    return [_from_text(text) for text in given]


def apply_overrides(document: Document, overrides: Sequence[Override]) -> Document:
    """The document with the overrides laid over it, in order."""
    data: Any = document.data
    origins, lines = dict(document.overrides), dict(document.lines)
    for override in overrides:
        data, path = _put(data, override, ())
        # What stood below the path is gone, and with it its lines and the earlier overrides of its keys.
        origins = _outside(path, origins) | {path: override.text}
        lines = _outside(path, lines)
    return replace(document, data=data, lines=lines, overrides=origins)


def plain(value: object, where: KeyPath = (), *, source: str | None = None) -> Any:
    """A Python value as YAML would have given it: tuples become lists, paths and units become text.

    Raises:
        SpecError: a value that has no place in a specification.
    """
    if len(where) > MAX_DEPTH:
        raise SpecError(f"nested more than {MAX_DEPTH} levels deep", key=dotted(where[:3]), source=source)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise SpecError(f"got the key {key!r}; keys are strings", key=dotted(where) or None, source=source)
        return {key: plain(item, (*where, key), source=source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, (*where, index), source=source) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath) or getattr(value, "is_spec_unit", False):
        return str(value)
    allowed = "a string, a number, a boolean, None, a list or a mapping"
    raise SpecError(f"got {kind_of(value)}; expected {allowed}", key=dotted(where) or None, source=source)


def _from_text(text: str) -> Override:
    shown = f"--set {text}"
    path, rest = _path(text)
    if not path or not rest.startswith("="):
        raise SpecError("expected `key=value`, such as `optimizer.lr=3e-4`", source=_masked("--set", text, path))
    origin = _masked("--set", text, path)
    try:
        value = parse_value(rest[1:], source=origin)
    except SpecError as error:
        raise SpecError(f"the value cannot be read ({error.message}); quote it if it is text", source=origin) from error
    return Override(path=path, value=value, text=origin if looks_secret(path) else shown)


def _from_pair(key: str, value: object) -> Override:
    path, rest = _path(key) if isinstance(key, str) else ((), "")
    if not path or rest:
        raise SpecError(f"got the key {key!r}; expected a dotted path such as `optimizer.lr`", source="set")
    text = f"set[{key!r}]"
    return Override(path=path, value=plain(value, path, source=text), text=text)


def _path(text: str) -> tuple[tuple[str, ...], str]:
    """The dotted path that a text begins with, and what follows it; no path when it is malformed."""
    parts: list[str] = []
    at = 0
    while found := _SEGMENT.match(text, at):
        parts.append(found[1] if found[1] is not None else found[2])
        at = found.end()
        if not text.startswith(".", at):
            return tuple(parts), text[at:]
        at += 1
    return (), text


def _masked(flag: str, text: str, path: tuple[str, ...]) -> str:
    key, equals, _ = text.partition("=")
    return f"{flag} {key}={SECRET}" if equals and looks_secret(path or (key,)) else f"{flag} {text}"


def _outside(path: KeyPath, known: Mapping[KeyPath, Known]) -> dict[KeyPath, Known]:
    return {at: value for at, value in known.items() if at[: len(path)] != path}


def _put(data: Any, override: Override, done: KeyPath) -> tuple[Any, KeyPath]:
    """A copy of `data` with the value in it, and the path with list indices as numbers."""
    rest = override.path[len(done) :]
    if not rest:
        return override.value, done
    head = rest[0]
    if data is None:
        data = {}
    if isinstance(data, dict):
        inner, path = _put(data.get(head), override, (*done, head))
        return {**data, head: inner}, path
    if isinstance(data, list):
        index = _index(head, data, override, done)
        inner, path = _put(data[index], override, (*done, index))
        return [*data[:index], inner, *data[index + 1 :]], path
    message = f"`{dotted(done)}` is {kind_of(data)}, so it has no key `{head}`; set `{dotted(done)}` itself"
    raise SpecError(message, key=dotted(override.path), source=override.text)


def _index(head: str, data: list[Any], override: Override, done: KeyPath) -> int:
    index = int(head) if head.isascii() and head.isdecimal() and len(head) < 7 else -1
    if not 0 <= index < len(data):
        allowed = f"0 to {len(data) - 1}" if data else "none, since it is empty"
        message = f"got {head!r} for an item of the list `{dotted(done)}`; allowed: {allowed}"
        raise SpecError(message, key=dotted(override.path), source=override.text)
    return index
