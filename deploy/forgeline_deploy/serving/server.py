"""The HTTP server: uvicorn, made to part with clients that are slow, or that send heads without an end."""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
import struct
import time
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
"""A client that has not sent the head of a request by then is not waited for."""

LAST_REQUEST_S = 1.0
"""For so long a connection may still send a request after the port was closed."""

HANDSHAKE_S = 0.25
"""For so long connections that are being made are waited for before the port is closed."""

ACCEPT_S = 5.0
"""For so long at most those that were made are accepted after that."""

PART_S = 1.0
"""How long what a client still sends is read after it was told to go."""

LARGEST_HEAD = 64 * 1024
"""Bytes of the first line and the headers of a request."""

_KEEP_ALIVE_S = 75
_MOST_CONNECTIONS = 4096
_BACKLOG = 2048

# Of linux/filter.h: drop what has the flag SYN, byte 13 of the head of TCP, and take all else.
_SO_ATTACH_FILTER = 26
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's own, with bounds on the head of a request, which it does not have."""

    _head_bytes = 0
    _head_is_open = False
    _is_parting = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_parting:
            return
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
        super().on_headers_complete()

    def shutdown(self) -> None:
        """The server stops. A connection on which nothing is asked may have a request on the way: it has a moment."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_REQUEST_S, super().shutdown)
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
            # Closed at once, with bytes that nobody has read, the answer could be lost on its way.
            self._is_parting = True
            self.transport.write_eof()
            self.loop.call_later(PART_S, self.transport.close)


class QuietlyEndingServer(uvicorn.Server):
    """uvicorn's own, which resets no connection when it stops.

    A connection is made by the kernel, and waits to be accepted; closing the port resets those that wait. So new ones
    are kept out first, those that are half made are accepted, and then the port is closed. Whoever tried meanwhile
    is told that nobody listens. Where the kernel has no such filter, a connection of that very moment may be reset.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        kept_out = []
        for listening in sockets or []:
            with suppress(OSError):
                keep_out(listening)
                kept_out.append(listening)
        await asyncio.sleep(HANDSHAKE_S)
        # On a busy host the loop may have slept over all of that time, and accepted nothing yet.
        until = time.monotonic() + ACCEPT_S
        while any(_has_waiting(listening) for listening in kept_out) and time.monotonic() < until:
            await asyncio.sleep(0.001)
        await super().shutdown(sockets)


def _has_waiting(listening: socket.socket) -> bool:
    """Whether a connection waits to be accepted."""
    waiting = select.poll()
    waiting.register(listening, select.POLLIN)
    return bool(waiting.poll(0))


def keep_out(listening: socket.socket) -> None:
    """Let the kernel make no further connection, without touching those that it has made.

    Raises:
        OSError: it has no filters for sockets.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _NO_SYN))
    listening.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
    )


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
    return QuietlyEndingServer(config)
