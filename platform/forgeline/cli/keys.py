"""The keys of a part of a spec for a person: type, allowed values, default as YAML, meaning; from the JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "array": "list",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}

Schema = Mapping[str, Any]


def keys_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """One row a key, those of nested blocks by their path: key, type, required, default, meaning."""
    schema = model.model_json_schema(by_alias=True)
    return list(_rows(schema, schema.get("$defs", {}), ""))


def as_yaml(value: Any) -> str:
    """A value as one would write it in a spec, on one line.

    >>> as_yaml([128, 128]), as_yaml(True), as_yaml("relu"), as_yaml({"val": 0.1}), as_yaml("")
    ('[128, 128]', 'true', 'relu', '{val: 0.1}', '""')
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {as_yaml(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def _rows(schema: Schema, blocks: Mapping[str, Schema], prefix: str) -> Iterator[dict[str, Any]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        block = blocks.get(_referred(field) or "", {})
        row = {"key": f"{prefix}{name}", "type": _type_of(field, blocks), "required": name in required}
        row["default"] = None if "properties" in block else field.get("default")
        yield row | {"meaning": field.get("description") or block.get("description", "")}
        if "properties" in block:
            given = field.get("default") or {}
            for inner in _rows(block, blocks, f"{prefix}{name}."):
                # What the outer block gives, in place of the inner one's own default.
                yield inner | {"default": given.get(inner["key"].rpartition(".")[2], inner["default"])}


def _referred(field: Schema) -> str | None:
    """The block that a field is, alone or beside null."""
    references = [choice["$ref"] for choice in (field, *field.get("anyOf", ())) if "$ref" in choice]
    return str(references[0]).rpartition("/")[2] if len(references) == 1 else None


def _type_of(field: Schema, blocks: Mapping[str, Schema]) -> str:
    """What may stand there, in words."""
    if "$ref" in field:
        return _type_of(blocks[str(field["$ref"]).rpartition("/")[2]], blocks)
    if "properties" in field:
        return "block"
    if "enum" in field or "const" in field:
        return " | ".join(as_yaml(value) for value in field.get("enum", [field.get("const")]))
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type_of(choice, blocks) for choice in choices))
    if field.get("type") == "array":
        items = field.get("items") or {}
        return f"list of ({_type_of(items, blocks)})" if items else "list"
    bounds = [f"{word} {field[bound]:g}" for bound, word in _BOUNDS.items() if bound in field]
    return ", ".join([_TYPES.get(str(field.get("type")), "anything"), *bounds])
