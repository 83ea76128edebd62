"""Why a model cannot be exported."""

from __future__ import annotations

from forgeline.errors import UsageError


class NotExportable(UsageError):
    """A model cannot be exported to a form; the message names the family and the reason."""
