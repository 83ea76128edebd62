"""What a person is told: once, again when it worsens or lasts, and at least once whatever is killed meanwhile."""

from __future__ import annotations

from forgeline_deploy.alerts.alert import Alert, Event, Notice, Severity
from forgeline_deploy.alerts.signature import verify_signature

__all__ = ["Alert", "Event", "Notice", "Severity", "verify_signature"]
