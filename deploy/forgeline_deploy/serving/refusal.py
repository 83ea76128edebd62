"""What a request is refused with: a status of HTTP, and a sentence that says what was got and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from forgeline.errors import ForgelineError

UNKNOWN_KEY = "unknown key"
"""What such requests are counted by, since the name of the key is the client's own."""


class Refused(ForgelineError):
    """A request is not answered with predictions.

    Args:
        status: of HTTP, 400 to 599.
        message: what is wrong, what was got and what is allowed.
        field: the place in the request, such as `instances[3].age`.
        retry_after_s: after which it may be worth asking again.
    """

    def __init__(
        self, status: int, message: str, *, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        self.status = status
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def content(self, request_id: str) -> dict[str, Any]:
        """As JSON; `error` is what the Open Inference Protocol asks for."""
        told: dict[str, Any] = {"error": self.message, "request_id": request_id}
        return told | ({"field": self.field} if self.field is not None else {})

    def headers(self) -> Mapping[str, str]:
        found = {} if self.retry_after_s is None else {"Retry-After": str(math.ceil(self.retry_after_s))}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


class UnknownKey(Refused):
    """A request has a key that nothing reads.

    Args:
        key: as the client has it.
        allowed: those that are read.
    """

    def __init__(self, key: str, allowed: Iterable[str]) -> None:
        super().__init__(422, f"{UNKNOWN_KEY}; allowed: {', '.join(allowed)}", field=key[:80])
