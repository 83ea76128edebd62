"""The Open Inference Protocol, version 2, over HTTP, with its extension for binary tensors.

Protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Binary tensors: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from forgeline import __version__
from forgeline_deploy.serving.front import Asked, Door, Front
from forgeline_deploy.serving.intake import JSON, Tensor
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.tensors import HEADER_LENGTH, read_request, written

PLATFORM = "forgeline_bundle"


def protocol_routes(front: Front) -> APIRouter:
    """Routes below /v2."""
    routes = APIRouter()

    @routes.get("/v2")
    async def server() -> Response:
        told = {"name": "forgeline", "version": __version__, "extensions": ["binary_tensor_data"]}
        return JSONResponse(told)

    @routes.get("/v2/health/live")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @routes.get("/v2/health/ready")
    async def ready() -> Response:
        return JSONResponse({"ready": front.ready}, 200 if front.ready else 503)

    @routes.get("/v2/models/{name}")
    @routes.get("/v2/models/{name}/versions/{version}")
    async def model(name: str, request: Request, version: str | None = None) -> Response:
        door = _door(front, name, request, version)
        inputs = [_described(tensor) for tensor in door.intake.tensors()]
        outputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _outputs(door)]
        versions = sorted(front.doors)
        told = {"name": name, "versions": versions, "platform": PLATFORM, "inputs": inputs, "outputs": outputs}
        return JSONResponse(told)

    @routes.get("/v2/models/{name}/ready")
    @routes.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, request: Request, version: str | None = None) -> Response:
        door = _door(front, name, request, version)
        up = front.ready and door.lane.replicas > 0
        return JSONResponse({"name": name, "ready": up}, 200 if up else 503)

    @routes.post("/v2/models/{name}/infer")
    @routes.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(name: str, request: Request, version: str | None = None) -> Response:
        return await _infer(front, name, request, version)

    return routes


async def _infer(front: Front, name: str, request: Request, version: str | None) -> Response:
    _check_name(front, name)
    asked: Asked = request.scope["forgeline"]
    chosen = front.choose(asked, version)
    door = chosen.door
    request.scope["forgeline.version"] = door.version
    length = request.headers.get(HEADER_LENGTH)
    tensors = door.intake.tensors()
    order = read_request(await request.body(), length, tensors)
    samples = door.intake.of_tensors(order.inputs)
    if not 1 <= len(samples) <= door.intake.most_samples:
        raise Refused(
            422, f"got {len(samples)} samples; allowed: 1 to {door.intake.most_samples}", field=tensors[0].name
        )
    found = await front.predict(asked, chosen, samples)
    known = [column for column, _ in _outputs(door)]
    wanted = order.outputs if order.outputs is not None else known
    for output in wanted:
        if output not in found.columns:
            raise Refused(422, f"no output {output[:80]!r}; allowed: {', '.join(known)[:500]}", field="outputs")
    outputs, binary = written({output: found.columns[output] for output in wanted}, dict(_outputs(door)), order)
    head: dict[str, Any] = {"model_name": name, "model_version": found.version}
    head |= {"id": order.request_id if order.request_id is not None else asked.request_id, "outputs": outputs}
    text = json.dumps(head, allow_nan=False).encode()
    headers = {"X-Model-Name": front.model, "X-Model-Version": found.version}
    if binary:
        headers[HEADER_LENGTH] = str(len(text))
    return Response(text + binary, media_type="application/octet-stream" if binary else JSON, headers=headers)


def _check_name(front: Front, name: str) -> None:
    if name != front.model:
        raise Refused(404, f"no model {name[:80]!r}; served: {front.model}")


def _door(front: Front, name: str, request: Request, version: str | None) -> Door:
    _check_name(front, name)
    return front.choose(request.scope["forgeline"], version).door


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _outputs(door: Door) -> Sequence[tuple[str, str]]:
    """Columns of a prediction, with the protocol's types."""
    types = {"string": "BYTES", "long": "INT64", "boolean": "BOOL", "float": "FP32", "double": "FP64"}
    columns: Sequence[Mapping[str, str]] = door.intake.bundle.schema.get("outputs", [])
    # What the rows are told apart by in a file is no part of an answer.
    return [(one["name"], types.get(one["type"], "BYTES")) for one in columns if one["name"] != "source"]
