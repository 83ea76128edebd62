from __future__ import annotations

import pytest

from forgeline.errors import UsageError
from forgeline.registry.references import ModelReference, RunReference, parse


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("models:/digits@champion", ModelReference(name="digits", alias="champion")),
        ("models:/digits/12", ModelReference(name="digits", version=12)),
        ("models:/digits/latest", ModelReference(name="digits")),
        ("runs:/3f2a9c", RunReference(run_id="3f2a9c")),
        ("runs:/3f2a9c/model", RunReference(run_id="3f2a9c")),
        ("bundle", None),
        ("./models:/x", None),
    ],
)
def test_references_are_told_apart(text: str, parsed: ModelReference | RunReference | None) -> None:
    assert parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["models:/digits", "models:digits", "models:/digits/", "models:/digits@", "models:/a/../b", "runs:/", "runs:/../x"],
)
def test_what_only_begins_like_one_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="allowed"):
        parse(text)
