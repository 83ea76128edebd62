"""The OpenAPI document of a deployment, made from the bundle that it serves, and a page that shows it."""

from __future__ import annotations

import html
import json
from typing import Any

from forgeline_deploy.serving.arrays import NPY, NPZ
from forgeline_deploy.serving.front import Door, Front
from forgeline_deploy.serving.generation import MOST_TOKENS
from forgeline_deploy.serving.intake import INSTANCES, JSON, LONGEST_TEXT
from forgeline_deploy.serving.tensors import TYPES

_MEANINGS = {
    "400": "The body is not what its type says.",
    "401": "A token is needed.",
    "404": "No such model, version or path.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "A type of content that is not taken.",
    "422": "The samples are not what the model takes; `field` says which.",
    "429": "The queue is full; `Retry-After` says when to ask again.",
    "500": "The model failed.",
    "503": "No replica answers; `Retry-After` says when to ask again.",
    "504": "No answer in time.",
}
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}, "field": {"type": "string"}},
    "required": ["error", "request_id"],
}
_HEADERS = [
    {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
    for name, text in (
        ("X-Request-Id", "1 to 128 printable ASCII characters; one is made without it, and returned in any case."),
        ("X-Sticky-Key", "The same key is answered by the same version as long as the split stays."),
    )
]


def document(front: Front) -> dict[str, Any]:
    """OpenAPI 3.1 of what is served now."""
    door = next(iter(front.doors.values()), None)
    paths: dict[str, Any] = {
        "/healthz": {"get": _get("Whether the process answers.")},
        "/readyz": {"get": _get("Whether requests are answered.", "503")},
        "/monitor": {"get": _get("What is monitored and rolled out, as a page.", "503", content="text/html")},
        "/monitor.json": {"get": _get("What is monitored and rolled out.", "503")},
        "/metrics": {"get": _get("Metrics for Prometheus.", content="text/plain")},
        "/v2": {"get": _get("Server metadata (Open Inference Protocol).")},
        "/v2/health/live": {"get": _get("Whether the process answers (Open Inference Protocol).")},
        "/v2/health/ready": {"get": _get("Whether requests are answered (Open Inference Protocol).", "503")},
    }
    if door is not None:
        paths |= _model_paths(front, door)
    return {
        "openapi": "3.1.0",
        "info": {"title": front.model, "version": ", ".join(sorted(front.doors)) or "none"},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _model_paths(front: Front, door: Door) -> dict[str, Any]:
    paths: dict[str, Any] = {"/predict": {"post": _predict(door)}}
    if door.text is not None:
        paths["/generate"] = {"post": _generate()}
    base = f"/v2/models/{front.model}"
    paths |= {
        base: {"get": _get("Inputs and outputs of the model (Open Inference Protocol).", "503")},
        f"{base}/ready": {"get": _get("Whether the model answers (Open Inference Protocol).", "503")},
        f"{base}/infer": {"post": _infer(door)},
    }
    return paths


def _predict(door: Door) -> dict[str, Any]:
    intake = door.intake
    instances = {"type": "array", "items": intake.instance_schema(), "minItems": 1, "maxItems": intake.most_samples}
    body = {
        "type": "object", "properties": {INSTANCES: instances}, "required": [INSTANCES], "additionalProperties": False,
    }  # fmt: skip
    content: dict[str, Any] = {JSON: {"schema": body}}
    content |= {name: {"schema": {"type": "string", "format": "binary"}} for name in intake.other_types()}
    columns = [column["name"] for column in intake.bundle.schema.get("outputs", [])]
    answer = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "request_id": {"type": "string"},
            "predictions": {"type": "array", "items": {"type": "object", "description": ", ".join(columns)[:2000]}},
        },
        "required": ["model", "version", "request_id", "predictions"],
    }
    return _post("Predictions for samples.", content, {JSON: {"schema": answer}})


def _generate() -> dict[str, Any]:
    number = {"type": "number", "minimum": 0}
    body = {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": MOST_TOKENS, "default": 200},
            "temperature": number | {"maximum": 100, "default": 0.8},
            "top_k": {"type": ["integer", "null"], "minimum": 1, "maximum": 10**6},
            "top_p": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "default": 0},
            "stream": {"type": "boolean", "default": False},
        },
        "required": ["prompt"],
        "additionalProperties": False,
    }
    answer = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
    answers = {JSON: {"schema": answer}, "text/event-stream": {"schema": event}}
    return _post("A prompt with its continuation.", {JSON: {"schema": body}}, answers)


def _infer(door: Door) -> dict[str, Any]:
    names = [tensor.name for tensor in door.intake.tensors()]
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 8},
            "datatype": {"enum": [*TYPES, "BYTES"]},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        "required": ["name", "shape", "datatype"],
    }
    inputs = {"type": "array", "items": tensor, "minItems": len(names), "maxItems": len(names)}
    properties = {"id": {"type": "string"}, "inputs": inputs, "outputs": {"type": "array", "items": {"type": "object"}}}
    body = {"type": "object", "properties": properties, "required": ["inputs"]}
    answer = {
        "type": "object",
        "properties": {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "outputs": {}},
        "required": ["model_name", "model_version", "outputs"],
    }
    answers = {JSON: {"schema": answer}, "application/octet-stream": {"schema": {"type": "string"}}}
    return _post("Inference (Open Inference Protocol).", {JSON: {"schema": body}}, answers)


def _post(summary: str, content: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "Answered.", "content": answer}, **_errors(*_MEANINGS)},
        "security": [{"token": []}, {}],
    }


def _get(summary: str, *statuses: str, content: str = JSON) -> dict[str, Any]:
    found = {"description": "Answered.", "content": {content: {"schema": {}}}}
    errors = {status: {"description": "Not now.", "content": {JSON: {"schema": {}}}} for status in statuses}
    return {"summary": summary, "responses": {"200": found, **errors, **_errors("401", "404", "413", "415", "408")}}


def _errors(*statuses: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {status: {"description": _MEANINGS[status], "content": {JSON: schema}} for status in statuses}


def page(front: Front) -> str:
    """The document for people. It loads nothing from elsewhere, since a deployment may have no way out."""
    found = document(front)
    rows = []
    for path, methods in found["paths"].items():
        for method, told in methods.items():
            schema = told.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
            body = f"<details><summary>body</summary><pre>{_shown(schema)}</pre></details>" if schema else ""
            rows.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(told['summary'])}</p>{body}"
            )
    title = html.escape(front.model)
    binary = ", ".join(f"<code>{name}</code>" for name in (NPY, NPZ))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}h2{font-size:1rem}"
        "pre{overflow:auto;background:#f4f4f4;padding:1rem}</style>"
        f"<h1>{title}</h1><p>Versions: {html.escape(found['info']['version'])}. "
        f"<a href=openapi.json>openapi.json</a>. Arrays come as {binary} too, where the model reads arrays.</p>"
        f"{''.join(rows)}</html>"
    )


def _shown(schema: Any) -> str:
    text = json.dumps(schema, indent=1)
    return html.escape(text if len(text) < 20_000 else text[:20_000] + "\n…")
