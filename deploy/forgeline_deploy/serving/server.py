"""The HTTP server: uvicorn, made to part with clients that are slow, or that send heads without an end."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
"""A client that has not sent the head of a request by then is not waited for."""

LAST_HEAD_S = 1.0
"""The same of a server that stops."""

LARGEST_HEAD = 64 * 1024
"""Bytes of the first line and the headers of a request."""

_KEEP_ALIVE_S = 75
_MOST_CONNECTIONS = 4096
_BACKLOG = 2048


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's own, with bounds on the head of a request, which it does not have."""

    _head_bytes = 0
    _head_is_open = False
    _was_asked = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_is_open:
            self._head_bytes += len(data)
            # The body may follow in the same piece: only what cannot be a head and its first piece is too much.
            if self._head_bytes > LARGEST_HEAD + 2**18 or (len(data) < 2**16 and self._head_bytes > LARGEST_HEAD):
                self._part(b"431 Request Header Fields Too Large")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._head_is_open:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        self._was_asked = True
        super().on_headers_complete()

    def shutdown(self) -> None:
        """The server stops. A connection that is new may have its request on the way, and has a moment for it."""
        if self._head_is_open and not self._was_asked:
            self.loop.call_later(LAST_HEAD_S, super().shutdown)
        else:
            super().shutdown()

    def _wait_for_head(self) -> None:
        self._head_is_open, self._head_bytes = True, 0
        self._late = self.loop.call_later(HEAD_S, self._part, b"408 Request Timeout")

    def _head_came(self) -> None:
        self._head_is_open = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _part(self, status: bytes) -> None:
        self._head_came()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


def server_of(app: Any) -> uvicorn.Server:
    """A server of an ASGI application; it handles no signals, and writes no line per request."""
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=_KEEP_ALIVE_S,
        limit_concurrency=_MOST_CONNECTIONS,
        backlog=_BACKLOG,
    )
    return uvicorn.Server(config)
