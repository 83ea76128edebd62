"""`alert:` of a deployment's specification: where alerts go. Secrets stand in it as `${NAME}`, never as themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from forgeline.errors import SpecError
from forgeline.masking import redact
from forgeline.spec.units import TimeSpan
from forgeline_deploy.alerts.alert import Severity
from forgeline_deploy.alerts.variables import VARIABLE, expand


def _address(text: str) -> str:
    if VARIABLE.search(text):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"got {redact(text)[:80]!r}; expected an address such as https://host/path, or `${{NAME}}`")
    if redact(text) != text:
        raise ValueError(f"got {redact(text)[:80]!r}, with a secret in it; write `${{NAME}}` and set the variable NAME")
    return text


def _secret(text: str) -> str:
    if VARIABLE.fullmatch(text) is None:
        raise ValueError("a secret stands in the environment; write `${NAME}` and set the variable NAME")
    return text


Address = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"examples": ["${ALERT_URL}"]})]
Secret = Annotated[str, AfterValidator(_secret), Field(json_schema_extra={"examples": ["${ALERT_SECRET}"]})]


class DestinationConfig(BaseModel):
    """What every destination takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]

    severity: Severity = Field(
        default=Severity.TICKET, description="Least severity that goes there: `ticket` (all) or `page`."
    )
    remind: TimeSpan = Field(
        default=TimeSpan.parse("24h"), description="Time after which an alert that lasts is told again."
    )

    @property
    def name(self) -> str:
        """What it is called in the journal and in listings."""
        return self.kind


class WebhookConfig(DestinationConfig):
    """An HTTP endpoint that gets each alert as JSON."""

    kind: ClassVar[str] = "webhook"

    webhook: Address = Field(description="Where to: https, or with `allow_private` http too; `${NAME}` is expanded.")
    secret: Secret | None = Field(
        default=None, description="Key that messages are signed with, as `${NAME}`; they are not without it."
    )
    allow_private: bool = Field(default=False, description="Whether it may be an address inside your network.")

    @property
    def name(self) -> str:
        return f"{self.kind} {self.webhook}"


class AlertmanagerConfig(DestinationConfig):
    """An Alertmanager, spoken to by its API v2."""

    kind: ClassVar[str] = "alertmanager"

    alertmanager: Address = Field(description="Its address, without `/api/v2/alerts`; `${NAME}` is expanded.")
    allow_private: bool = Field(default=False, description="Whether it may be an address inside your network.")

    @property
    def name(self) -> str:
        return f"{self.kind} {self.alertmanager}"


class LogConfig(DestinationConfig):
    """The log of the deployment."""

    kind: ClassVar[str] = "log"

    log: Literal[True] = Field(description="`true`.")


_KINDS = tuple(each.kind for each in (WebhookConfig, AlertmanagerConfig, LogConfig))


def _kind(given: Any) -> str | None:
    """The tag of a destination: no key of its own, since paths in messages leave out only what leads nowhere."""
    if isinstance(given, DestinationConfig):
        return f"to {given.kind}"
    named = [kind for kind in _KINDS if isinstance(given, dict) and kind in given]
    return f"to {named[0]}" if len(named) == 1 else None


Destination = Annotated[
    Annotated[WebhookConfig, Tag("to webhook")]
    | Annotated[AlertmanagerConfig, Tag("to alertmanager")]
    | Annotated[LogConfig, Tag("to log")],
    Discriminator(
        _kind,
        custom_error_type="destination",
        custom_error_message="expected one of {webhook: …}, {alertmanager: …} and {log: true}",
    ),
]


def _different(destinations: tuple[DestinationConfig, ...]) -> tuple[DestinationConfig, ...]:
    names = [destination.name for destination in destinations]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} stands there twice; remove one of them")
    return destinations


Destinations = Annotated[
    tuple[Destination, ...],
    AfterValidator(_different),
    Field(description="Where alerts go; they are listed by `forgeline alerts list` in any case."),
]
"""The type of the key `alert` of a deployment."""


def check_variables(destinations: Sequence[DestinationConfig], *, key: str = "alert") -> None:
    """See that every variable is set, before anything is started.

    Raises:
        SpecError: which one is not.
    """
    for number, destination in enumerate(destinations):
        for field in ("webhook", "secret", "alertmanager"):
            if isinstance(text := getattr(destination, field, None), str):
                at = f"{key}.{number}.{field}"
                found = expand(text, key=at)
                parts = urlsplit(found)
                if field != "secret" and (parts.scheme not in ("https", "http") or not parts.hostname):
                    # What a variable holds may be a secret: it is not shown.
                    raise SpecError(f"{text} holds no address; expected one such as https://host/path", key=at)
