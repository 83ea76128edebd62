"""Names of aliases, and the versions that one went through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from forgeline.errors import UsageError
from forgeline.ledger.records import AliasMove

# `latest`, `v2` and the like are refused by MLflow, which would be hours too late for a training.
_PATTERN = r"(?!(?:[lL][aA][tT][eE][sS][tT]|[vV][0-9]+)$)[A-Za-z][A-Za-z0-9_-]{0,254}"
_RULE = "an alias is a letter, then letters, digits, `_` or `-`; `latest`, `v1`, `v2`, … are taken"


def _allowed(alias: str) -> str:
    if re.fullmatch(_PATTERN, alias) is None:
        raise ValueError(f"got {alias[:80]!r}; {_RULE}")
    return alias


Alias = Annotated[str, AfterValidator(_allowed), Field(json_schema_extra={"pattern": f"^{_PATTERN}$"})]
"""The type of a spec's key that names an alias."""


def check_alias(alias: str) -> None:
    """Raises UsageError when no alias may have this name."""
    try:
        _allowed(alias)
    except ValueError as error:
        raise UsageError(f"alias: {error}") from error


def check_reason(why: str) -> None:
    """Raises UsageError when the reason of a move is nothing that every database can keep as text."""
    try:
        why.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"why: got {ascii(why[:80])}, which is no text: {error.reason}") from None
    if "\0" in why:
        raise UsageError(f"why: got {ascii(why[:80])}; the character \\0 is not allowed")


def expected_version(text: str) -> int | Literal["none"]:
    """The version that an alias is expected to point at, as typed.

    >>> expected_version("3"), expected_version("none")
    (3, 'none')

    Raises:
        UsageError: it is neither the number of a version nor `none`.
    """
    if text == "none":
        return "none"
    if re.fullmatch(r"[1-9][0-9]{0,17}", text) is None:
        raise UsageError(f"--expect: got {text[:80]!r}; allowed: the number of a version, or `none`")
    return int(text)


def trail(moves: Sequence[AliasMove], current: int) -> list[int]:
    """Versions that an alias went through to the current one, those it was rolled back from left out."""
    passed: list[int] = []
    for move in moves:
        # It may have been moved without us, in MLflow.
        _reach(passed, move.from_version)
        if move.rollback and move.to_version in passed:
            while passed[-1] != move.to_version:
                passed.pop()
        else:
            _reach(passed, move.to_version)
    _reach(passed, current)
    return passed


def _reach(passed: list[int], version: int | None) -> None:
    if version is not None and passed[-1:] != [version]:
        passed.append(version)
