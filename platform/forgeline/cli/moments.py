"""Points in time, as a person types them."""

from __future__ import annotations

from datetime import datetime

from forgeline.errors import UsageError


def moment_of(text: str, *, option: str) -> datetime:
    """A time in ISO 8601; one without a zone is meant in the local zone.

    Args:
        text: what was typed.
        option: where, for the error.

    Raises:
        UsageError: it is no time.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option}: got {text[:80]!r}; allowed: a time in ISO 8601, such as 2026-11-30, 2026-11-30T12:00 or "
            "2026-11-30T12:00+01:00"
        ) from None
