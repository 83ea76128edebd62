"""The forms that a notice is sent in: signed JSON to a webhook, Alertmanager's API v2, a line in the log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from forgeline_deploy.alerts.alert import Event, Notice, Severity
from forgeline_deploy.alerts.posting import post
from forgeline_deploy.alerts.signature import HEADER, sign
from forgeline_deploy.alerts.spec import AlertmanagerConfig, DestinationConfig, LogConfig, WebhookConfig
from forgeline_deploy.alerts.variables import expand

LOGGER = "forgeline.alerts"
IDEMPOTENCY_HEADER = "Idempotency-Key"

# An Alertmanager forgets an alert that nobody repeats; it is repeated when it is told again.
_KEPT_BEYOND_REMINDER_S = 3600.0


class Sender(Protocol):
    """A way to a destination. Called from a thread of its own; keeps nothing between calls."""

    def send(self, notice: Notice, now: float) -> None:
        """Deliver, or raise a ForgelineError that says why not."""


def sender(config: DestinationConfig) -> Sender:
    """The way to a destination."""
    if isinstance(config, WebhookConfig):
        return WebhookSender(config)
    if isinstance(config, AlertmanagerConfig):
        return AlertmanagerSender(config)
    assert isinstance(config, LogConfig)
    return LogSender()


def message(notice: Notice) -> dict[str, Any]:
    """What a webhook gets, as JSON values; moments are RFC 3339 in UTC."""
    alert = notice.alert
    return {
        "event": str(notice.event),
        "severity": str(alert.severity),
        "kind": alert.kind,
        "deployment": alert.deployment,
        "run_id": alert.run_id,
        "model": alert.model,
        "subject": alert.subject,
        "summary": alert.summary,
        "first": _moment(alert.first),
        "last": _moment(alert.last),
        "window": None if alert.window is None else [_moment(edge) for edge in alert.window],
        "figures": alert.to_dict()["figures"],
        "alert": alert.key,
        "notice": notice.idempotency_key,
        "at": _moment(notice.at),
    }


class WebhookSender:
    """JSON, signed where there is a secret."""

    def __init__(self, config: WebhookConfig) -> None:
        self._config = config

    def send(self, notice: Notice, now: float) -> None:
        """Raises SpecError where a variable is not set, Refused and DeliveryFailed as `post`."""
        config = self._config
        body = json.dumps(message(notice), ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", IDEMPOTENCY_HEADER: notice.idempotency_key}
        if config.secret is not None:
            # Signed anew for each try: the receiver refuses what is old.
            headers[HEADER] = sign(expand(config.secret, key="alert.secret"), body, at=now)
        url = expand(config.webhook, key="alert.webhook")
        post(url, body, headers, allow_private=config.allow_private, key="alert.webhook")


class AlertmanagerSender:
    """The alert as labels and annotations; a change of severity ends the alert of the lower one."""

    def __init__(self, config: AlertmanagerConfig) -> None:
        self._config = config

    def send(self, notice: Notice, now: float) -> None:
        """Raises SpecError where a variable is not set, Refused and DeliveryFailed as `post`."""
        config = self._config
        alerts = [self._alert(notice, notice.alert.severity, over=notice.event is Event.RESOLVED, now=now)]
        if notice.before is not None:
            alerts.append(self._alert(notice, notice.before, over=True, now=now))
        body = json.dumps(alerts, ensure_ascii=False, allow_nan=False).encode()
        url = expand(config.alertmanager, key="alert.alertmanager").rstrip("/") + "/api/v2/alerts"
        headers = {"Content-Type": "application/json", IDEMPOTENCY_HEADER: notice.idempotency_key}
        post(url, body, headers, allow_private=config.allow_private, key="alert.alertmanager")

    def _alert(self, notice: Notice, severity: Severity, *, over: bool, now: float) -> Mapping[str, Any]:
        alert = notice.alert
        kept = now + self._config.remind.total_seconds() + _KEPT_BEYOND_REMINDER_S
        # Labels are the alert's identity: what changes while it lasts stands in annotations.
        labels = {"alertname": f"forgeline_{_word(alert.kind)}", "severity": str(severity)}
        labels |= {"deployment": alert.deployment, "run_id": alert.run_id}
        figures = {f"figure_{_word(name)}": str(value) for name, value in alert.figures.items()}
        return {
            "labels": labels | ({"subject": alert.subject} if alert.subject else {}),
            "annotations": {"summary": alert.summary, "model": alert.model, **figures},
            "startsAt": _moment(alert.first),
            "endsAt": _moment(notice.at if over else kept),
        }


class LogSender:
    """One line; pages are errors, tickets warnings."""

    def send(self, notice: Notice, now: float) -> None:
        alert = notice.alert
        figures = ", ".join(f"{name}={value}" for name, value in alert.figures.items())
        text = f"alert {notice.event}: {alert.severity} {alert.kind} {alert.deployment} {alert.model} {alert.subject}"
        level = logging.ERROR if alert.severity is Severity.PAGE else logging.WARNING
        if notice.event is Event.RESOLVED:
            level = logging.INFO
        logging.getLogger(LOGGER).log(level, "%s: %s (%s)", text.rstrip(), alert.summary, figures or "no figures")


def _word(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
