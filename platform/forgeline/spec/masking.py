"""Which values must not be shown in a message, judged by the names of their keys."""

from __future__ import annotations

import re
from collections.abc import Iterable

SECRET = "***"

# `token` is a secret, `tokens`, `tokenizer` and `max_tokens` are not.
_NAME = re.compile(
    r"(^|[_.-])(pass(word|wd|phrase)?|secrets?|token|credentials?|authorization|(api|access|private|secret)[_-]?key)($|[_.-])",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def looks_secret(path: Iterable[str | int]) -> bool:
    """Whether any key of a path looks like that of a password or token."""
    return any(isinstance(part, str) and _NAME.search(part) is not None for part in path)


def without_credentials(text: str) -> str:
    """A text with the user and password of every URL in it masked.

    >>> without_credentials("postgresql://me:pw@host/db")
    'postgresql://***@host/db'
    """
    return _IN_URL.sub(SECRET, text)
