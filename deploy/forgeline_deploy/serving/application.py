"""The HTTP interface: predictions, generated text, health, metrics, and what describes them.

Routes take the raw request and return a ready response: pydantic over the pixels of a batch would cost more than the
model. What may be sent is checked by the intakes, and written down in the OpenAPI document from the same bundle.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from forgeline_deploy.monitor.page import POLICY, render
from forgeline_deploy.serving import description
from forgeline_deploy.serving.front import Asked, Door, Front, Prediction
from forgeline_deploy.serving.gate import SOMETHING_WRONG, Gate
from forgeline_deploy.serving.generation import read_generation
from forgeline_deploy.serving.inference_protocol import protocol_routes
from forgeline_deploy.serving.intake import JSON
from forgeline_deploy.serving.metrics import CONTENT_TYPE
from forgeline_deploy.serving.refusal import UNKNOWN_KEY, Refused, UnknownKey

_LARGE_BODY = 2**18
"""Bytes from which a body is read in a thread, so that small requests do not wait for it."""

_CLIENT_LEFT = 499
"""Seen by nobody but the metrics; the number that others use for it."""


def application(front: Front, *, token_sha256: bytes | None = None, body_s: float | None = None) -> Any:
    """The ASGI application of an ingress.

    Args:
        front: the versions that are up.
        token_sha256: of the token that clients must show; None where they need none.
        body_s: seconds that a body may take; the usual ones without it.
    """
    app = FastAPI(title=front.model, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_found)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        asked: Asked = request.scope["forgeline"]
        chosen = front.choose(asked)
        door = chosen.door
        request.scope["forgeline.version"] = door.version
        body = await request.body()
        kind = request.headers.get("content-type", JSON)
        if len(body) < _LARGE_BODY:
            samples = door.intake.read(kind, body)
        else:
            samples = await asyncio.to_thread(door.intake.read, kind, body)
        return _predicted(front, asked, await front.predict(asked, chosen, samples))

    @app.post("/generate")
    async def generate(request: Request) -> Response:
        asked: Asked = request.scope["forgeline"]
        door = front.choose(asked).door
        request.scope["forgeline.version"] = door.version
        return await _generated(front, door, request)

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    async def readyz() -> Response:
        return JSONResponse({"status": "ready" if front.ready else "not ready"}, 200 if front.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(front.metrics.text(), media_type=CONTENT_TYPE)

    _add_monitor(app, front)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return JSONResponse(description.document(front))

    @app.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(description.page(front))

    app.include_router(protocol_routes(front))
    return Gate(app, front, token_sha256=token_sha256, **({} if body_s is None else {"body_s": body_s}))


def _add_monitor(app: FastAPI, front: Front) -> None:
    @app.get("/monitor.json")
    async def monitor_data() -> Response:
        return JSONResponse(await _monitored(front))

    @app.get("/monitor")
    async def monitor() -> Response:
        # Drawing takes a while, in which others are answered.
        text = await asyncio.to_thread(render, await _monitored(front))
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


async def _monitored(front: Front) -> dict[str, Any]:
    if front.steering is None:
        raise Refused(404, "nothing is monitored and nothing rolled out here; set `monitor` or `rollout`")
    try:
        return await front.steering.page()
    except Exception as error:
        raise Refused(503, "the controller does not answer now; ask again later", retry_after_s=1) from error


def _predicted(front: Front, asked: Asked, found: Prediction) -> Response:
    names, values = list(found.columns), found.columns.values()
    content = {
        "model": front.model,
        "version": found.version,
        "request_id": asked.request_id,
        "predictions": [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)],
    }
    return Response(
        json.dumps(content, allow_nan=False), media_type=JSON, headers=version_headers(front.model, found.version)
    )


async def _generated(front: Front, door: Door, request: Request) -> Response:
    asked: Asked = request.scope["forgeline"]
    if door.text is None:
        raise Refused(404, f"the model is for {door.intake.bundle.task}; only language models generate text: /predict")
    order = read_generation(await request.body())
    pieces = door.text.write(order.prompt, order.settings)
    headers = version_headers(front.model, door.version)
    if order.stream:
        # What is wrong with the prompt shows at the first piece, when a status can still be sent.
        return _EventStream(await anext(pieces, None), pieces, headers)
    text = order.prompt
    async with aclosing(pieces):
        async for piece in pieces:
            text += piece
            if await request.is_disconnected():
                raise Refused(_CLIENT_LEFT, "the client left before the text was complete")
    told = {"model": front.model, "version": door.version, "request_id": asked.request_id, "text": text}
    return JSONResponse(told, headers=headers)


class _EventStream(StreamingResponse):
    """Server-sent events: `{"text": …}` for each piece, and `[DONE]`, or an `error` in its place."""

    def __init__(self, first: str | None, pieces: AsyncGenerator[str], headers: Mapping[str, str]) -> None:
        self._first, self._pieces = first, pieces
        super().__init__(self._events(), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A client that has left is noticed at once, and the replica need not write on.
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)

    async def _events(self) -> AsyncIterator[str]:
        try:
            if self._first is not None:
                yield f"data: {json.dumps({'text': self._first})}\n\n"
            async for piece in self._pieces:
                yield f"data: {json.dumps({'text': piece})}\n\n"
        except Exception as error:
            if not isinstance(error, Refused):
                traceback.print_exc()
            message = error.message if isinstance(error, Refused) else SOMETHING_WRONG
            yield f"event: error\ndata: {json.dumps({'error': message})}\n\n"
            return
        yield "data: [DONE]\n\n"


def version_headers(model: str, version: str) -> dict[str, str]:
    """Who answered."""
    return {"X-Model-Name": model, "X-Model-Version": version}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    asked: Asked = request.scope["forgeline"]
    request.scope["forgeline.field"] = UNKNOWN_KEY if isinstance(error, UnknownKey) else error.field
    # `field` may be a key of the client's that is no valid Unicode: as ASCII it can be told in any case.
    told = json.dumps(error.content(asked.request_id))
    return Response(told, error.status, headers=dict(error.headers()), media_type=JSON)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked: Asked = request.scope["forgeline"]
    text = {404: "no such path; /docs lists them", 405: "the path does not take this method; /docs lists them"}
    refused = Refused(error.status_code, text.get(error.status_code, str(error.detail)))
    return JSONResponse(refused.content(asked.request_id), error.status_code, headers=error.headers)
