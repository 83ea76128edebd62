from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from forgeline.errors import SpecError
from forgeline.spec.json_schema import DRAFT, kind_schema
from forgeline.spec.loading import load

VALID: dict[str, Any] = {
    "kind": "toy",
    "name": "toy",
    "net": {"name": "net18", "width": 4, "head": {"kind": "attention"}},
    "timeout": "1h30m",
    "resources": {"memory_per_worker": "2GiB"},
    "retry": {"node_lost": 2},
    "register": "x",
}


@pytest.fixture
def validator() -> Draft202012Validator:
    schema = kind_schema("toy")
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_a_valid_document(validator: Draft202012Validator) -> None:
    validator.validate(VALID)
    validator.validate(load(VALID).spec.resolved())


@pytest.mark.parametrize(
    "change",
    [
        {"lrr": 1},
        {"kind": "train"},
        {"name": "No Slug"},
        {"net": {"name": "net81"}},
        {"net": {"name": "net18", "widht": 4}},
        {"net": {"name": "other", "width": 4}},
        {"net": {"width": 4}},
        {"timeout": "soon"},
        {"retry": {"hang_": 1}},
        {"resources": {"workers": 0}},
    ],
)
def test_what_is_refused_is_refused_by_the_schema_too(validator: Draft202012Validator, change: dict[str, Any]) -> None:
    assert not validator.is_valid(VALID | change)
    with pytest.raises(SpecError):
        load(VALID | change)


def test_the_schema_is_closed_and_every_key_is_described() -> None:
    schema = kind_schema("toy")
    assert (schema["$schema"], schema["title"], schema["additionalProperties"]) == (DRAFT, "Forgeline toy", False)
    assert schema["required"] == ["kind", "name"]
    for name, model in {"": schema, **schema["$defs"]}.items():
        assert model["additionalProperties"] is False, name
    for block in (schema, schema["$defs"]["Resources"]):
        assert [key for key, value in block["properties"].items() if not value.get("description")] == []


def test_an_unknown_kind() -> None:
    with pytest.raises(SpecError, match="unknown kind 'toyy'; did you mean `toy`"):
        kind_schema("toyy")
