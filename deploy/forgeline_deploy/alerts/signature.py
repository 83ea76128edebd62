"""The signature of a webhook's message: an HMAC over its time and body, against forging and replaying."""

from __future__ import annotations

import hashlib
import hmac
import re

HEADER = "X-Forgeline-Signature"
TOLERANCE_S = 300.0
"""How old, or how much ahead of the receiver's clock, a message may be."""


def sign(secret: str, body: bytes, *, at: float) -> str:
    """The header's value: `t=<unix seconds>,v1=<HMAC-SHA256 of "<t>." and the body, in hexadecimal>`.

    HMAC: Krawczyk, Bellare & Canetti 1997 (RFC 2104).
    """
    return f"t={int(at)},v1={_digest(secret, body, int(at))}"


def verify_signature(secret: str, header: str, body: bytes, *, now: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a message comes from who knows the secret, unchanged and lately.

    Args:
        secret: that both sides know.
        header: value of `X-Forgeline-Signature`.
        body: as it was received, byte for byte.
        now: unix seconds by the receiver's clock.
        tolerance_s: how far the two clocks, and the way, may differ.
    """
    found = re.fullmatch(r"t=(\d{1,12}),v1=([0-9a-f]{64})", header)
    if found is None or abs(now - int(found[1])) > tolerance_s:
        return False
    return hmac.compare_digest(found[2], _digest(secret, body, int(found[1])))


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
