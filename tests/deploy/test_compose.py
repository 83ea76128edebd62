"""The stack of deploy/compose.yaml as far as it can be held without a container engine: what it names is there, what it
publishes stays on this host, and what is secret comes from the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from ruamel.yaml import YAML

import forgeline
from forgeline.settings import Settings
from forgeline.spec.loading import load
from forgeline_deploy.deployment.spec import DeploymentSpec
from forgeline_deploy.serving.gate import ENDPOINTS, OPEN_PATHS
from forgeline_deploy.serving.spec import TOKEN_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"

# Of the Compose Specification, what a file of ours may use.
TOP = {"name", "services", "networks", "volumes", "configs", "secrets"}
SERVICE = set(
    "build cap_add cap_drop command configs container_name cpus depends_on deploy entrypoint env_file environment "
    "expose healthcheck hostname image init labels logging mem_limit networks pids_limit ports profiles pull_policy "
    "read_only restart secrets security_opt shm_size stop_grace_period stop_signal tmpfs ulimits user volumes "
    "working_dir".split()
)
HEALTH = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}
DURATION = re.compile(r"([0-9]+(us|ms|s|m|h))+")
SIZE = re.compile(r"[0-9]+(b|k|kb|m|mb|g|gb)")
REQUIRED = re.compile(r"\$\{([A-Z][A-Z0-9_]*):\?[^}]+\}")


@cache
def stack() -> dict[str, Any]:
    return cast("dict[str, Any]", YAML(typ="safe").load(COMPOSE))


@cache
def prometheus() -> dict[str, Any]:
    return cast("dict[str, Any]", YAML(typ="safe").load(DEPLOY / "prometheus.yml"))


def services() -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", stack()["services"])


def option(service: str, name: str) -> str:
    """The value of `--name=VALUE` in a service's command."""
    return next(text.partition("=")[2] for text in services()[service]["command"] if text.startswith(f"--{name}="))


def mounts() -> Iterator[tuple[str, str, str, str]]:
    """Service, source, target and mode of each mount."""
    for name, service in services().items():
        for mount in service.get("volumes", []):
            source, target, mode = (*mount.split(":"), "rw")[:3]
            yield name, source, target, mode


def served() -> DeploymentSpec:
    """The spec that the deployment is started with, changed as its command changes it."""
    run, spec, *rest = services()["deployment"]["command"]
    assert run == "run" and rest[::2] == ["--set"] * (len(rest) // 2)
    return cast("DeploymentSpec", load(ROOT / spec, set=rest[1::2]).spec)


def test_there_is_what_a_host_needs() -> None:
    assert set(services()) == {"postgres", "tracker", "ray", "deployment", "prometheus"}


def test_keys_are_those_of_the_compose_specification() -> None:
    assert {key for key in stack() if not key.startswith("x-")} <= TOP
    for name, service in services().items():
        assert set(service) <= SERVICE, name
        assert set(service["healthcheck"]) <= HEALTH, name
        times = [service["healthcheck"][key] for key in ("interval", "timeout", "start_period")]
        times += [service["stop_grace_period"]] if "stop_grace_period" in service else []
        assert all(DURATION.fullmatch(time) for time in times), name
        assert SIZE.fullmatch(service.get("shm_size", "1mb")), name


@pytest.mark.parametrize("name", ["postgres", "tracker", "ray", "deployment", "prometheus"])
def test_every_service_is_watched_started_again_and_confined(name: str) -> None:
    service = services()[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged") and not service.get("cap_add")
    # Ours has its user in the image (test_image.py).
    assert "build" in service or service["user"] not in ("root", "0")


def test_nothing_is_published_beyond_this_host() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published and all(re.fullmatch(r"127\.0\.0\.1:[0-9]+:[0-9]+", port) for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)
    assert all("network_mode" not in service for service in services().values())
    assert "ports" not in services()["postgres"]


def test_versions_are_pinned() -> None:
    for name, service in services().items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?[0-9]+\.[0-9]+", tag), name
        if "build" in service:
            assert service["image"] == f"forgeline:{forgeline.__version__}"


def test_secrets_come_from_the_environment_and_must_be_there() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert text.count("${") == len(REQUIRED.findall(text))
    assert set(REQUIRED.findall(text)) == {"POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", TOKEN_VARIABLE}
    for service in services().values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|KEY", key):
                assert REQUIRED.fullmatch(value), key
            assert not re.search(r"://[^/@]*:[^/@]*@", value), key
    assert stack()["secrets"] == {"serve_token": {"environment": TOKEN_VARIABLE}}


def test_what_is_mounted_is_there_and_what_is_declared_is_used() -> None:
    named = set()
    for service, source, target, mode in mounts():
        assert target.startswith("/"), service
        if source.startswith("."):
            assert (DEPLOY / source).is_file() and mode == "ro", source
        else:
            named.add(source)
    assert named == set(stack()["volumes"])


def test_a_service_waits_for_what_it_needs() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services() and how == {"condition": "service_healthy"}, name
    for name in ("ray", "deployment"):
        assert set(services()[name]["depends_on"]) == {"postgres", "tracker"}


def test_settings_are_known_and_lead_to_the_other_services() -> None:
    known = {f"FORGELINE_{field.upper()}" for field in Settings.model_fields} | {TOKEN_VARIABLE}
    for name in ("ray", "deployment"):
        given = services()[name]["environment"]
        assert {key for key in given if key.startswith("FORGELINE_")} <= known
        assert given["FORGELINE_TRACKING_URI"] == f"http://tracker:{option('tracker', 'port')}"
    database = services()["postgres"]["environment"]
    user = f"postgresql+psycopg://{database['POSTGRES_USER']}@postgres:5432"
    assert services()["ray"]["environment"]["FORGELINE_LEDGER_URL"] == f"{user}/{database['POSTGRES_DB']}"
    made = re.search(r"CREATE DATABASE (\w+);", (DEPLOY / "postgres" / "databases.sql").read_text(encoding="utf-8"))
    assert made is not None and made[1] != database["POSTGRES_DB"]
    assert services()["tracker"]["environment"]["MLFLOW_BACKEND_STORE_URI"] == f"{user}/{made[1]}"
    assert f"--dbname={made[1]}" in services()["postgres"]["healthcheck"]["test"]


def test_the_deployment_is_reached_with_a_token_and_told_ready_without() -> None:
    serve = served().serve
    assert serve.host == "0.0.0.0" and serve.token_variable in services()["deployment"]["environment"]
    assert services()["deployment"]["ports"] == [f"127.0.0.1:{serve.port}:{serve.port}"]
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", services()["deployment"]["healthcheck"]["test"][-1])
    assert asked is not None and int(asked[1]) == serve.port and asked[2] in OPEN_PATHS
    # Killed later than it gives up by itself.
    grace = services()["deployment"]["stop_grace_period"]
    assert {"1m": 60.0}[grace] > Settings().cancel_grace_s


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own
def test_commands_and_their_options_exist() -> None:
    from mlflow.cli import server
    from ray.scripts.scripts import cli

    from forgeline.cli.app import app

    commands = {"tracker": ("mlflow", server), "ray": ("ray", cli.commands["start"])}
    for name, (program, command) in commands.items():
        service = services()[name]
        assert service["entrypoint"] == [program] and service["command"][0] == command.name
        known = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        assert {text.partition("=")[0] for text in service["command"][1:]} <= known, name
    assert "entrypoint" not in services()["deployment"]
    root = cast("Any", typer.main.get_command(app))
    assert services()["deployment"]["command"][0] in root.list_commands(None)
    assert services()["ray"]["healthcheck"]["test"][1:3] == ["ray", "health-check"] and "health-check" in cli.commands


def test_the_tracker_lets_in_who_asks_it_by_the_names_that_are_used() -> None:
    hosts = option("tracker", "allowed-hosts").split(",")
    port = option("tracker", "port")
    assert {f"tracker:{port}", f"localhost:{port}", f"127.0.0.1:{port}"} == set(hosts)
    target = option("tracker", "artifacts-destination")
    assert ("tracker", "artifacts", target, "rw") in list(mounts())


def test_prometheus_scrapes_what_is_there() -> None:
    assert set(prometheus()) <= {"global", "scrape_configs"}
    jobs = {job["job_name"]: job for job in prometheus()["scrape_configs"]}
    keys = {"job_name", "metrics_path", "authorization", "static_configs", "scheme"}
    assert all(set(job) <= keys for job in jobs.values())
    assert jobs["deployment"]["static_configs"] == [{"targets": [f"deployment:{served().serve.port}"]}]
    assert ENDPOINTS.fullmatch(jobs["deployment"]["metrics_path"])
    assert jobs["ray"]["static_configs"] == [{"targets": [f"ray:{option('ray', 'metrics-export-port')}"]}]
    (secret,) = services()["prometheus"]["secrets"]
    shown = {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}
    assert jobs["deployment"]["authorization"] == shown
    assert ("prometheus", "./prometheus.yml", option("prometheus", "config.file"), "ro") in list(mounts())
    assert ("prometheus", "figures", option("prometheus", "storage.tsdb.path"), "rw") in list(mounts())
