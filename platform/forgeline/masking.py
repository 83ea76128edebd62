"""What must not be shown, logged or uploaded: values of secret keys, and the credentials in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SECRET = "***"

# `token` is a secret, `tokens`, `tokenizer` and `max_tokens` are not.
_NAME = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secrets?|token|credentials?|authorization|(?:api|access|private|secret)[_-]?key)"
)
_SECRET_KEY = re.compile(rf"(?i)(?:^|[_.-]){_NAME}(?:$|[_.-])")
# A password may hold `/` and `@` where somebody forgot to quote them: too much is hidden rather than too little. What
# follows the colon is a port, and no password, when it is digits up to a slash.
_USER_INFO = re.compile(r"(?<=://)(?:[^/@\s:]*:(?!\d+(?:/|$))\S{0,1000}@|[^/@\s]*@)")
_SECRET_ITEM = re.compile(
    r"(?i)([?&;](?:password|passwd|pwd|token|access_token|secret|api_key|apikey|key|sig|signature)=)[^&;\s]*"
)
# `password = "x"`, `"token": 'x'`, `token: str = "x"`; without quotes `api_key: x` and `--token=x` at the end of a
# line, unless it is the type of an annotation: code that calls, indexes or assigns names holds no secret. Lengths have
# limits because a diff may hold a line of a megabyte.
_SECRET_NAME = rf"(?<![a-z0-9]){_NAME}(?:[_.-][a-z0-9_.-]{{0,64}})?[\"']?"
_QUOTED = re.compile(rf"(?i)({_SECRET_NAME}[ \t]*(?::[^=\n\"']{{0,80}}=|[:=])[ \t]*)([\"'])(?:(?!\2).)+\2")
_BARE = re.compile(
    rf"(?im)({_SECRET_NAME}(?::[ \t]+|=))(?!(?:str|int|float|bool|bytes|None|Any|null|true|false)\b)"
    r"[^\s\"'(),\[\]{}|]{1,1000}+(?=[ \t]*$)"
)


def looks_secret(path: Iterable[str | int]) -> bool:
    """Whether any key of a path looks like that of a password or token."""
    return any(isinstance(part, str) and _SECRET_KEY.search(part) is not None for part in path)


def redact(text: str) -> str:
    """`text` with user names, passwords and secret query items of any URL in it replaced.

    >>> redact("postgresql://ann:s3cret@db:5432/runs")
    'postgresql://***@db:5432/runs'
    >>> redact("https://tracker/api?token=abc&limit=3")
    'https://tracker/api?token=***&limit=3'
    """
    return _SECRET_ITEM.sub(rf"\1{SECRET}", _USER_INFO.sub(f"{SECRET}@", text))


def redact_source(text: str) -> str:
    """`redact` for code and settings: what is assigned to a secret name is replaced as well.

    >>> redact_source('password = "s3cret"')
    'password = "***"'
    """
    return redact(_BARE.sub(rf"\1{SECRET}", _QUOTED.sub(rf"\1\2{SECRET}\2", text)))


def masked(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Plain data with everything below a secret key, and the credentials in every text, replaced.

    >>> masked({"url": "s3://me:pw@store", "auth": {"token": "abc"}})
    {'url': 's3://***@store', 'auth': {'token': '***'}}
    """
    if isinstance(value, Mapping):
        return {key: masked(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, path) for item in value]
    if value is None or value == "" or isinstance(value, bool):
        return value
    if looks_secret(path):
        return SECRET
    return redact(value) if isinstance(value, str) else value
