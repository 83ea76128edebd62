"""The spec of a deployment, what it refuses, and what is looked at before Ray is started."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forgeline.bundle import Bundle
from forgeline.errors import NotFound, SpecError
from forgeline.spec.source import read_document
from forgeline_deploy.deployment.kind import DeploymentKind
from forgeline_deploy.deployment.spec import DeploymentSpec
from forgeline_deploy.serving.spec import TOKEN_VARIABLE

ROOT = Path(__file__).resolve().parents[3]


def spec(model: object = "models:/digits@champion", **parts: Any) -> DeploymentSpec:
    return DeploymentSpec.model_validate({"kind": "deployment", "name": "digits", "model": str(model), **parts})


def test_the_shipped_spec_loads_and_its_resolved_text_loads_again() -> None:
    for file in sorted((ROOT / "deploy" / "specs").glob("*.yaml")):
        loaded = DeploymentSpec.model_validate(read_document(file).data)
        assert DeploymentSpec.model_validate(loaded.resolved()) == loaded


def test_replicas_are_the_workers_that_the_host_has_room_for() -> None:
    assert str(spec(serve={"replicas": "1..4"}).resources.workers) == "1..4"
    with pytest.raises(ValidationError, match="set serve.replicas"):
        spec(resources={"workers": 3})


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        ({"token": "a-secret-of-mine-12345"}, "write `token: "),
        ({"max_queue": 8, "max_batch": 32}, "less than a batch"),
        ({"open": True, "token": "${A}"}, "leave one of them out"),
        ({"replicas": 0}, "greater than or equal to 1"),
    ],
)
def test_what_a_spec_refuses(serve: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        spec(serve=serve)
    errors = caught.value.errors(include_input=False, include_url=False)
    assert "a-secret-of-mine" not in str([error["msg"] for error in errors])


ROLLOUT = {"challenger": "models:/digits@challenger"}
COMPARED = {**ROLLOUT, "compare": {"metric": "error_rate"}}
RETRAIN = {"retrain": {"spec": {"kind": "train"}}}
LABELS = {"labels": {"path": "labels/*.parquet"}}


@pytest.mark.parametrize(
    ("model", "parts", "message"),
    [
        ("runs:/abc", {"rollout": ROLLOUT}, "needs a registered one"),
        ("models:/digits/3", {"rollout": ROLLOUT}, "write models:/digits@champion"),
        ("models:/wine@champion", {"rollout": ROLLOUT}, "allowed: of 'wine'"),
        ("models:/digits@champion", {"rollout": COMPARED}, "set monitor.labels.path"),
        ("models:/digits@champion", {"monitor": RETRAIN}, "set labels.path"),
        ("models:/digits@champion", {"monitor": {**RETRAIN, **LABELS}}, "set sample_payloads"),
    ],
)
def test_parts_that_do_not_go_together(model: str, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(model, **parts)


def test_a_rollout_holds_room_for_two_versions() -> None:
    made = spec(serve={"replicas": "1..2"}, rollout=COMPARED, monitor=LABELS)
    assert str(made.resources.workers) == "2..4"
    assert DeploymentSpec.model_validate(made.resolved()) == made


def test_a_retry_belongs_to_trainings() -> None:
    with pytest.raises(ValidationError, match="started again whenever they die"):
        spec(retry={"preempted": 1})


def test_an_outside_address_needs_a_token(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    outside = spec(bundle.folder, serve={"host": "0.0.0.0", "port": 0})
    with pytest.raises(SpecError, match=TOKEN_VARIABLE) as caught:
        DeploymentKind().check(outside)
    assert caught.value.key == "serve.token"
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(SpecError, match="16 or more"):
        DeploymentKind().check(outside)
    monkeypatch.setenv(TOKEN_VARIABLE, "0123456789abcdef")
    assert DeploymentKind().check(outside)["digest"] == bundle.digest
    assert "0123456789abcdef" not in str(outside.resolved())


def test_a_port_that_is_taken_is_told_before_anything_starts(bundle: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SpecError, match="cannot listen on 127.0.0.1") as caught:
            DeploymentKind().check(spec(bundle.folder, serve={"port": taken.getsockname()[1]}))
    assert caught.value.key == "serve.port"


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    with pytest.raises(NotFound, match="no such folder"):
        DeploymentKind().check(spec(tmp_path / "nothing", serve={"port": 0}))
