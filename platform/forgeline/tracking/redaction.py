"""Addresses without their secrets, for messages, logs and tracked parameters."""

from __future__ import annotations

import re

# A password may hold `/` and `@` where somebody forgot to quote them: too much is hidden rather than too little. What
# follows the colon is a port, and no password, when it is digits up to a slash.
_USER_INFO = re.compile(r"(?<=://)(?:[^/@\s:]*:(?!\d+(?:/|$))\S*@|[^/@\s]*@)")
_SECRET_ITEM = re.compile(
    r"(?i)([?&;](?:password|passwd|pwd|token|access_token|secret|api_key|apikey|key|sig|signature)=)[^&;\s]*"
)


def redact(text: str) -> str:
    """`text` with user names, passwords and secret query items of any URL in it replaced.

    >>> redact("postgresql://ann:s3cret@db:5432/runs")
    'postgresql://***@db:5432/runs'
    >>> redact("https://tracker/api?token=abc&limit=3")
    'https://tracker/api?token=***&limit=3'
    """
    return _SECRET_ITEM.sub(r"\1***", _USER_INFO.sub("***@", text))
