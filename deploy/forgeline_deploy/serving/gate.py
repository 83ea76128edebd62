"""What every request passes before the application sees it: its size and pace, its token, its id.

The body is read here, whole and within bounds, so that nothing behind ever waits for a client. A compressed one is
refused: what it would grow to is not known before.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
import traceback
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forgeline_deploy.serving.front import Asked, Front
from forgeline_deploy.serving.refusal import Refused

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Asked by load balancers, which have no token."""

ENDPOINTS = re.compile(r"/(predict|generate|healthz|readyz|metrics|docs|openapi\.json)|/v2(/.*)?")
BODY_S = 20.0
"""A body that has not come by then is not waited for."""

LINGER_S = 2.0
"""How long what a refused client still sends is read, so that it sees the refusal and no broken connection."""

SOMETHING_WRONG = "something went wrong inside; the log of the deployment has it"

_LINGER_BYTES = 64 * 2**20
_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: gets requests with `scope["forgeline"]`, an `Asked`, and their whole body.
        front: for the metrics and the bounds.
        token_sha256: of the token that clients must show; None where they need none.
        body_s: seconds that a body may take.
    """

    def __init__(self, app: ASGIApp, front: Front, *, token_sha256: bytes | None, body_s: float = BODY_S) -> None:
        self._app = app
        self._front = front
        self._token = token_sha256
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._front)
        headers = _single(scope["headers"])
        scope["forgeline"] = answer.asked = _asked(headers, scope)
        self._front.busy += 1
        try:
            self._check_token(scope["path"], headers)
            body = await self._body(scope, headers, receive)
            await self._app(scope, _Replay(body, receive), answer)
        except Refused as error:
            await answer.refuse(error, receive)
        except Exception:
            traceback.print_exc()
            await answer.refuse(Refused(500, SOMETHING_WRONG), receive)
        finally:
            self._front.busy -= 1
            answer.count()

    def _check_token(self, path: str, headers: MutableMapping[bytes, bytes]) -> None:
        if self._token is None or path in OPEN_PATHS:
            return
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        # Digests are compared, so that neither the time nor the length tells anything of the token.
        given = hashlib.sha256(shown.strip()).digest()
        if not (hmac.compare_digest(given, self._token) and scheme.lower() == b"bearer"):
            raise Refused(401, "a token is needed; send the header `Authorization: Bearer TOKEN`")

    async def _body(self, scope: Scope, headers: MutableMapping[bytes, bytes], receive: Receive) -> bytes:
        most = self._front.config.max_body.bytes
        too_large = Refused(413, f"the body is too large; allowed: {self._front.config.max_body} (serve.max_body)")
        coding = headers.get(b"content-encoding", b"identity")
        if coding.strip().lower() not in (b"identity", b""):
            raise Refused(415, "the body is compressed; allowed: Content-Encoding identity")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > most:
            raise too_large
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the client left before the body was complete")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise Refused(408, f"the body did not come within {self._body_s:g} s") from error


class _Replay:
    """The body once, then whatever the server tells: that the client has left."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """The way back: adds the id, and remembers the status for the metrics."""

    def __init__(self, scope: Scope, send: Send, front: Front) -> None:
        self.asked: Asked | None = None
        self._scope = scope
        self._send = send
        self._front = front
        self._status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = [(b"x-request-id", self._id.encode())]
            if self._front.draining:
                own.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await self._send(message)

    @property
    def _id(self) -> str:
        return self.asked.request_id if self.asked is not None else ""

    async def refuse(self, error: Refused, receive: Receive) -> None:
        """Answer with an error, if nothing was answered yet."""
        if self._status:
            return
        body = json.dumps(error.content(self._id)).encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers().items()]
        if error.status in (408, 413):
            # What is still on its way would be taken for the next request.
            headers.append((b"connection", b"close"))
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        if error.status == 413:
            await self({"type": "http.response.body", "body": body, "more_body": True})
            await _read_on(receive)
            body = b""
        await self({"type": "http.response.body", "body": body})

    def count(self) -> None:
        """Tell the metrics."""
        assert self.asked is not None
        path = self._scope["path"]
        # Anybody may ask for any path: only the known ones become labels, without the names inside them.
        endpoint = path if ENDPOINTS.fullmatch(path) else "other"
        if endpoint.startswith("/v2/models/"):
            endpoint = "/v2/models/" + (path.rpartition("/")[2] if path.endswith(("/infer", "/ready")) else "")
        elif endpoint.startswith("/v2") and endpoint not in OPEN_PATHS:
            endpoint = "/v2"
        version = self._scope.get("forgeline.version", "")
        self._front.metrics.answered(endpoint, self._status, version, time.time() - self.asked.arrival)
        if version and self._front.steering is not None and 400 <= self._status < 500:
            place = self._front.place_of(version, self._scope.get("forgeline.field"))
            self._front.steering.refused(version, self.asked.arrival, self._status, place)


async def _read_on(receive: Receive) -> None:
    """Throw away what a client still sends, within bounds: it may look for an answer only when it has sent all."""
    left = _LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _single(headers: Iterable[tuple[bytes, bytes]]) -> MutableMapping[bytes, bytes]:
    """Headers by name, the first of several."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value)
    return found


def _asked(headers: MutableMapping[bytes, bytes], scope: Scope) -> Asked:
    given = headers.get(b"x-request-id", b"")
    request_id = given.decode() if _ID.fullmatch(given) else uuid4().hex
    key: Any = headers.get(b"x-sticky-key", b"").decode("latin-1")[:256]
    return Asked(request_id=request_id, key=key or request_id, arrival=time.time())
