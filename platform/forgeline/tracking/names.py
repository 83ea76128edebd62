"""Making keys and values fit what MLflow takes, so that no point can break the batch it travels in."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

LIVE = "live/"
"""What the keys of points begin with whose steps may be done again."""

STATE_TAG = "forgeline.state"
"""The tag that says how a run ended."""

KEY_LIMIT = 250
PARAM_LIMIT = 6000
TAG_LIMIT = 5000

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_REFUSED = re.compile(r"[^/\w.\- :]")


@cache
def tracked_key(key: str) -> str:
    """The name under which MLflow keeps a metric or a parameter; brackets become a level.

    >>> tracked_key("val/f1[7]"), tracked_key("loss%")
    ('val/f1/7', 'loss_')
    """
    text = _REFUSED.sub("_", _BRACKETS.sub(r"/\1", key))
    # MLflow refuses names that are no plain path: `a//b`, `/a`, `../a`.
    parts = [part for part in text.split("/") if part.strip(".")]
    return "/".join(parts)[:KEY_LIMIT] or "_"


def tracked_value(value: Any, limit: int) -> str:
    """`value` as text; what is too long is cut, and says so.

    >>> tracked_value("abcdefgh" * 10, 40)
    'abcdefghabcdefg… (cut, 80 characters)'
    """
    text = str(value)
    if len(text) <= limit:
        return text
    note = f"… (cut, {len(text)} characters)"
    return text[: max(0, limit - len(note) - 3)] + note
