"""What the OpenAPI document promises, held by requests that are made from it: no 5xx, and answers of its form."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.deploy.serving.conftest import Local
from tests.deploy.serving.test_server import serving


@pytest.mark.parametrize("kind", ["table", "images", "texts"])
def test_answers_are_as_the_document_says(kind: str, request: pytest.FixtureRequest) -> None:
    local: Local = request.getfixturevalue(kind)
    schema = schemathesis.openapi.from_dict(local.ask("GET", "/openapi.json").json())
    with serving(local) as (_, port):
        schema.config.update(base_url=f"http://127.0.0.1:{port}")
        for found in schema.get_all_operations():
            operation = found.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if operation.method == "get" and mode is GenerationMode.NEGATIVE:
                    continue

                @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
                @given(case=operation.as_strategy(generation_mode=mode))
                def asked(case: Any) -> None:
                    # Of columns the schema says all there is to say; pixels have units, prompts an alphabet.
                    told = kind == "table" and case.path == "/predict"
                    case.call_and_validate(excluded_checks=[] if told else [positive_data_acceptance])

                asked()
