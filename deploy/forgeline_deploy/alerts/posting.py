"""One HTTP POST to an address that came from a specification: checked, pinned, verified, short, and never redirected.

Proxies of the environment are not used: behind one, the address that is connected to could not be checked.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from forgeline.errors import ForgelineError
from forgeline_deploy.alerts.address import IPAddress, Refused, pinned

CONNECT_S = 5.0
WHOLE_S = 10.0
"""Longest time for all of it, however slowly the other side speaks."""

_LARGEST_ANSWER = 64 * 2**10


class DeliveryFailed(ForgelineError):
    """It did not arrive, as far as is known."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, key: str) -> None:
    """Send a body.

    Args:
        url: https, or with `allow_private` http too.
        headers: besides those that HTTP itself needs.
        allow_private: whether it may lead inside a network.
        key: of the specification, for messages; they never hold the URL, which may be a secret.

    Raises:
        Refused: the address may not be connected to.
        DeliveryFailed: nobody answered in time, or not with a 2xx status.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused(f"{key}: holds no address; expected one such as https://host/path") from None
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not parts.hostname:
        allowed = "https://, or http:// with `allow_private: true`"
        raise Refused(f"{key}: the address begins with {parts.scheme[:20]!r}; allowed: {allowed}")
    port = port or (443 if parts.scheme == "https" else 80)
    addresses = pinned(parts.hostname, port, allow_private=allow_private, key=key)
    connection = _Pinned(parts, port, addresses)
    # A time-out of the socket is per packet; this one is for the whole.
    watchdog = threading.Timer(WHOLE_S, connection.abort)
    watchdog.daemon = True
    watchdog.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body=body, headers={"User-Agent": "forgeline", **headers})
        answer = connection.getresponse()
        answer.read(_LARGEST_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        what = f"no answer within {WHOLE_S:g} s" if connection.aborted else f"{type(error).__name__}: {error}"
        raise DeliveryFailed(f"{key}: {what}"[:300]) from None
    finally:
        watchdog.cancel()
        connection.close()
    if connection.aborted:
        # Its end looks like the end of the headers.
        raise DeliveryFailed(f"{key}: no answer within {WHOLE_S:g} s")
    if 300 <= answer.status < 400:
        raise DeliveryFailed(f"{key}: answered {answer.status}, a redirection; these are not followed: give its target")
    if not 200 <= answer.status < 300:
        raise DeliveryFailed(f"{key}: answered {answer.status}")


class _Pinned(http.client.HTTPConnection):
    """A connection to one of these addresses and to nothing else; TLS is verified for the name in the URL."""

    def __init__(self, parts: SplitResult, port: int, addresses: list[IPAddress]) -> None:
        assert parts.hostname is not None
        super().__init__(parts.hostname, port, timeout=CONNECT_S)
        self._addresses = addresses
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self.aborted = False
        # So that the header Host leaves the port out where it goes without saying.
        self.default_port = 443 if parts.scheme == "https" else 80

    def connect(self) -> None:
        error: OSError | None = None
        for address in self._addresses:
            try:
                plain = socket.create_connection((str(address), self.port), timeout=CONNECT_S)
            except OSError as failed:
                error = failed
                continue
            self.sock = plain
            if self._context is not None:
                # By itself it would shake hands before anybody knew the socket to end.
                secured = self._context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
                self.sock = secured
                secured.do_handshake()
            return
        raise error or OSError("no address to connect to")

    def abort(self) -> None:
        """End it from another thread."""
        self.aborted = True
        sock = self.sock
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                return
