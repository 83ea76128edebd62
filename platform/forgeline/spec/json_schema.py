"""JSON Schema (draft 2020-12) of a kind's spec, for editors that complete and check the YAML."""

from __future__ import annotations

from typing import Any

from forgeline.kinds import get_kind

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def kind_schema(kind: str) -> dict[str, Any]:
    """The schema of `kind: <kind>`, with the settings of every registered plug-in.

    Raises:
        SpecError: no such kind.
    """
    descriptor = get_kind(kind)
    schema = descriptor.spec_model().model_json_schema(by_alias=True)
    schema["properties"]["kind"] = {"const": kind, "description": f"The kind of job: {descriptor.help}"}
    required = [key for key in schema.get("required", []) if key != "kind"]
    return {"$schema": DRAFT} | schema | {"title": f"Forgeline {kind}", "required": ["kind", *required]}
