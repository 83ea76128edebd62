"""`alert:` as it is written; secrets stand in the environment."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from forgeline.errors import SpecError
from forgeline.spec.source import Document
from forgeline.spec.validation import validate
from forgeline_deploy.alerts.spec import Destinations, check_variables


class Deployment(BaseModel):
    alert: Destinations = ()


def read(*destinations: object) -> Deployment:
    return validate(Deployment, Document(data={"alert": list(destinations)}))


def test_destinations_are_told_by_their_key_and_stay_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URL", "https://hooks.example/T0/s3cret")
    monkeypatch.setenv("ALERT_SECRET", "k3y")
    found = read(
        {"webhook": "${ALERT_URL}", "secret": "${ALERT_SECRET}", "severity": "page", "remind": "2h"},
        {"log": True},
        {"alertmanager": "http://alertmanager:9093", "allow_private": True},
    )
    check_variables(found.alert)
    stored = found.model_dump(mode="json")
    assert "s3cret" not in str(stored) and "k3y" not in str(stored)
    assert Deployment.model_validate(stored) == found
    names = [each.name for each in found.alert]
    assert names == ["webhook ${ALERT_URL}", "log", "alertmanager http://alertmanager:9093"]


def test_a_variable_that_is_not_set_is_named_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_URL", raising=False)
    found = read({"log": True}, {"webhook": "${ALERT_URL}"})
    with pytest.raises(SpecError, match=r"alert\.1\.webhook: the environment variable ALERT_URL is not set") as told:
        check_variables(found.alert)
    assert told.value.exit_code == 2


def test_what_a_variable_holds_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URL", "file:///etc/s3cret")
    with pytest.raises(SpecError, match="holds no address") as told:
        check_variables(read({"webhook": "${ALERT_URL}"}).alert)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ({"webhook": "https://h/x", "secret": "k3y"}, "a secret stands in the environment"),
        ({"webhook": "https://ann:k3y@h/x"}, "with a secret in it"),
        ({"webhook": "https://h/x?token=k3y"}, "with a secret in it"),
        ({"webhook": "file:///etc/passwd"}, "expected an address such as https"),
        ({"webhook": "hooks.example"}, "expected an address such as https"),
        ({"webhook": "https://h", "log": True}, "expected one of"),
        ({"mail": "ann"}, "expected one of"),
        ({"log": False}, "alert.0"),
        ({"webhook": "https://h/x", "retry": 3}, "retry"),
        ({"webhook": "https://h/x", "severity": "fire"}, "severity"),
    ],
)
def test_what_is_not_allowed_is_told(destination: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as told:
        read(destination)
    assert "k3y" not in str(told.value)


def test_a_destination_stands_there_once() -> None:
    with pytest.raises(SpecError, match="twice"):
        read({"log": True}, {"log": True})
