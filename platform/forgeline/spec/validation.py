"""Pydantic's errors turned into SpecErrors: path, line or override, value got, what is allowed, nearest key.

Unusual: pydantic puts the tags of unions into its paths. A path is therefore read against the data, and what leads
nowhere in them is dropped. All errors of a document come in one exception, in the order of the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from forgeline.errors import SpecError
from forgeline.masking import SECRET, looks_secret, redact
from forgeline.spec.fields import all_paths, keys_at
from forgeline.spec.source import Document, KeyPath, dotted, kind_of
from forgeline.suggestions import did_you_mean, nearest

Model = TypeVar("Model", bound=BaseModel)

_DOTTED = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+")
_SHOWN = 80


def validate(model: type[Model], document: Document, context: Mapping[str, Any] | None = None) -> Model:
    """The document as a model.

    Args:
        model: what the document must be.
        document: what was read.
        context: pydantic's, for the validators of plug-ins.

    Raises:
        SpecError: the first error; the further ones are in its `others`.
    """
    return validate_part(model, document.data, (), document, context)


def validate_part(
    model: type[Model], data: Any, path: KeyPath, document: Document, context: Mapping[str, Any] | None = None
) -> Model:
    """A part of a document as a model; errors carry the path from the top.

    Args:
        model: what the part must be.
        data: the part.
        path: where the part stands in the document.
        document: for lines and overrides.
        context: pydantic's, for the validators of plug-ins.
    """
    try:
        checked = model.model_validate(data, context=context)
    except ValidationError as error:
        raise _joined(_errors(error, model, data, path, document), document) from error
    except SpecError as error:
        at = _within(error.key or "", path, document)
        source, line = document.place(at)
        raise error.located(line=line, source=source) from error
    wrong = _booleans_as_numbers(data, checked.model_dump(by_alias=True), path)
    if wrong:
        raise _joined([(at, document.error("got a boolean; expected a number", at)) for at in wrong], document)
    return checked


def _errors(
    error: ValidationError, model: type[BaseModel], data: Any, base: KeyPath, document: Document
) -> list[tuple[KeyPath, SpecError]]:
    # The alternatives of a union fail one by one at the same place: they are one error to the user.
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        grouped.setdefault(_real_path(details, data), []).append(details)
    found = []
    for path, group in grouped.items():
        at = (*base, *path)
        unknown = _is_unknown_key(group[0])
        message = _unknown_key(model, path, data, group[0]) if unknown else _message(group, path, at)
        if not path or group[0]["type"] == "value_error":
            at = _named_in(message, at, document)
        found.append((at, document.error(message, at)))
    return found


def _joined(errors: Sequence[tuple[KeyPath, SpecError]], document: Document) -> SpecError:
    order = {path: position for position, path in enumerate(document.lines)}
    ranked = [error for _, error in sorted(errors, key=lambda pair: _rank(pair[0], order))]
    first, rest = ranked[0], ranked[1:]
    return SpecError(first.message, key=first.key, line=first.line, source=first.source, others=tuple(rest))


def _rank(path: KeyPath, order: Mapping[KeyPath, int]) -> int:
    return next((order[path[:end]] for end in range(len(path), 0, -1) if path[:end] in order), len(order))


def _real_path(details: ErrorDetails, data: Any) -> KeyPath:
    location = details["loc"]
    path: list[str | int] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (last and details["type"] in ("missing", "forgeline_missing") and isinstance(data, Mapping)):
            continue
        path.append(part)
    return tuple(path)


def _is_unknown_key(details: ErrorDetails) -> bool:
    is_key = bool(details["loc"]) and details["loc"][-1] == "[key]"
    return details["type"] == "extra_forbidden" or (is_key and details["type"] == "literal_error")


def _unknown_key(model: type[BaseModel], path: KeyPath, data: Any, details: ErrorDetails) -> str:
    name = str(path[-1])
    if details["type"] == "literal_error":
        # The keys of a mapping, not of a block: each is a word of its own, and all of them fit on a line.
        words = re.findall(r"'([^']*)'", details["ctx"]["expected"])
        meant = nearest(name, words)
        return f"unknown key; {f'did you mean `{meant}`? ' if meant else ''}known: {', '.join(sorted(words))}"
    known = keys_at(model, path[:-1], data)
    if nearest(name, known) is None:
        # The right key in the wrong block: `lr` beside `optimizer`.
        elsewhere = [dotted(other) for other in all_paths(model, data) if other[-1] == name and other != path]
        if elsewhere:
            return f"unknown key; did you mean `{elsewhere[0]}`?"
    return f"unknown key; {did_you_mean(name, known)}"


def _message(group: Sequence[ErrorDetails], path: KeyPath, at: KeyPath) -> str:
    first = group[0]
    value = first["input"]
    said = list(dict.fromkeys(_said(details) for details in group))
    text = "; or ".join(said)
    if first["type"] == "missing":
        return "required key is missing"
    if first["type"] in ("forgeline_missing", "forgeline_unknown_name"):
        return text
    if looks_secret(at):
        # A validator of a plug-in may have put the value into its own words.
        text = text.replace(str(value), SECRET) if str(value) else text
    if not text.startswith("got ") and not (first["type"] == "value_error" and isinstance(value, Mapping)):
        text = f"got {_shown(value, at)}; {text}"
    return redact(text)


def _said(details: ErrorDetails) -> str:
    message, kind, value = details["msg"], details["type"], details["input"]
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(details["ctx"]["expected"]))
        meant = nearest(value, allowed) if isinstance(value, str) else None
        hint = f"; did you mean `{meant}`?" if meant is not None else ""
        return f"allowed: {', '.join(allowed) or details['ctx']['expected']}{hint}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "expected a mapping"
    if kind in ("tuple_type", "list_type", "set_type", "frozen_set_type"):
        return (
            f"expected a list, such as [{value}, {value}]"
            if isinstance(value, str | int | float)
            else "expected a list"
        )
    if kind in ("float_parsing", "float_type"):
        return "expected a number"
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return "expected a whole number"
    if kind == "string_type" and isinstance(value, int | float):
        return "expected a string: put it in quotes"
    expected = re.sub(r"^Input should be ", "expected ", message)
    return expected[:1].lower() + expected[1:]


def _shown(value: Any, path: KeyPath) -> str:
    if value is not None and looks_secret(path):
        return SECRET
    if isinstance(value, Mapping):
        return f"a mapping with {len(value)} keys" if value else "an empty mapping"
    if isinstance(value, list) and (len(repr(value)) > _SHOWN or any(isinstance(item, dict | list) for item in value)):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str | int | float | list):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
    return kind_of(value)


def _named_in(message: str, path: KeyPath, document: Document) -> KeyPath:
    """The first key of the document that a message names: a check across fields has no place of its own."""
    if path:
        return path
    for name in _DOTTED.findall(message):
        at = tuple(name.split("."))
        if at in document.lines or at in document.overrides:
            return at
    return path


def _within(key: str, base: KeyPath, document: Document) -> KeyPath:
    at: list[str | int] = [int(part) if part.isdecimal() else part for part in key.split(".") if part]
    whole = tuple(at)
    return whole if whole[: len(base)] == base else (*base, *whole)


def _booleans_as_numbers(data: Any, checked: Any, path: KeyPath) -> list[KeyPath]:
    """Where pydantic took `true` for 1: a slip in a spec, never meant."""
    if isinstance(data, bool):
        return [path] if type(checked) in (int, float) else []
    pairs: list[tuple[str | int, Any, Any]] = []
    if isinstance(data, Mapping) and isinstance(checked, Mapping):
        pairs = [(key, data[key], checked[key]) for key in data if key in checked]
    elif isinstance(data, list) and isinstance(checked, list | tuple):
        pairs = [(index, *both) for index, both in enumerate(zip(data, checked, strict=False))]
    return [at for key, left, right in pairs for at in _booleans_as_numbers(left, right, (*path, key))]
