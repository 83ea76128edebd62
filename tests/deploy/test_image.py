"""deploy/image/Dockerfile as far as it can be held without a container engine."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


@cache
def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each instruction, its lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in whole.splitlines() if line.strip()]


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def of(name: str) -> list[str]:
    return [arguments for found, arguments in instructions() if found == name]


def final_stage() -> list[tuple[str, str]]:
    last = max(place for place, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[last:]


def copied_from_the_context() -> list[str]:
    sources = []
    for arguments in of("COPY"):
        parts = shlex.split(arguments)
        if not parts[0].startswith("--from="):
            sources += parts[:-1]
    return sources


def test_instructions_are_known_and_stages_start_from_a_pinned_python() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    (base,) = [text.removeprefix("PYTHON=") for text in of("ARG")]
    assert re.fullmatch(r"3\.11\.[0-9]+-slim-[a-z]+", base)
    assert of("FROM") == ["python:${PYTHON} AS packages", "python:${PYTHON}"]


def test_packages_are_those_of_the_lock_and_no_others() -> None:
    installs = [text[text.index("pip install") :] for text in of("RUN") if "pip install" in text]
    assert installs == [
        "pip install --no-deps --requirement requirements.lock",
        "pip install --no-deps --no-build-isolation .",
    ]


def test_the_lock_has_what_a_ledger_in_postgresql_needs() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {line.partition("==")[0].partition("[")[0].lower() for line in lock.splitlines()}
    (wanted,) = project()["optional-dependencies"]["postgres"]
    assert wanted.startswith("psycopg[binary]")
    assert {"psycopg", "psycopg-binary"} <= locked


def test_what_is_copied_is_there_and_is_sent() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing is sent but what is named"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not {rule for rule in sent if rule.startswith(".") or "*" in rule}
    for source in copied_from_the_context():
        assert (ROOT / source).exists() and Path(source).parts[0] in sent, source
    # Every source root, and what the build of the wheel reads.
    read = {project()["readme"], *project()["license-files"], "pyproject.toml", "requirements.lock"}
    assert read | {"platform", "architectures", "jobs", "deploy"} == sent


def test_nothing_secret_is_in_it() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert not re.search(r"(?i)password|token|secret|api_?key|\bcurl\b|\bwget\b|https?://", text)


def test_it_runs_as_somebody_who_owns_its_folders() -> None:
    stage = final_stage()
    users = [arguments for name, arguments in stage if name == "USER"]
    assert users == ["forgeline"]
    (made,) = [text for name, text in stage if "useradd" in text]
    assert re.search(r"--uid [1-9][0-9]{4}\b", made)
    owned = set(shlex.split(made[made.index("install --directory") :])) & {"/var/lib/forgeline", "/var/lib/tracking"}
    assert owned == {"/var/lib/forgeline", "/var/lib/tracking"}
    home = next(text for name, text in stage if name == "ENV")
    assert "FORGELINE_HOME=/var/lib/forgeline" in home
    services = YAML(typ="safe").load(ROOT / "deploy" / "compose.yaml")["services"]
    for service in services.values():
        if "build" in service:
            assert {mount.split(":")[1] for mount in service["volumes"]} <= owned
            assert (ROOT / "deploy" / service["build"]["context"]).resolve() == ROOT
            assert ROOT / service["build"]["dockerfile"] == DOCKERFILE


def test_it_starts_the_command_line() -> None:
    (entry,) = of("ENTRYPOINT")
    assert json.loads(entry) == ["forgeline"] and "forgeline" in project()["scripts"]
    # Specs lie where the same relative path finds them.
    copied = {shlex.split(text)[0]: shlex.split(text)[1] for name, text in final_stage() if name == "COPY"}
    (folder,) = [text for name, text in final_stage() if name == "WORKDIR"]
    for specs in ("jobs/specs", "deploy/specs"):
        assert copied[specs] == f"{folder}/{specs}"
