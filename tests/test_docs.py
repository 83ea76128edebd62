"""README and docs hold what they say: links resolve, commands parse, specifications are valid, README's Python runs."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from forgeline.errors import SpecError

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("architectures/**/*.md"),
        *ROOT.glob("jobs/**/*.md"),
        *ROOT.glob("benchmarks/**/*.md"),
    ]
    if path.is_file()
)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """(place, body) of every fenced block in one of the languages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            if found["language"] in languages:
                line = text.count("\n", 0, found.start()) + 1
                indent = len(found["indent"])
                yield f"{label(page)}:{line}", "\n".join(row[indent:] for row in found["body"].splitlines())


def commands() -> Iterator[tuple[str, str]]:
    for place, body in blocks("bash", "sh", "console", "shell"):
        for row in body.replace("\\\n", " ").splitlines():
            command = row.strip().removeprefix("$ ").strip()
            if command.startswith("forgeline "):
                yield place, command


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_a_readme() -> None:
    assert ROOT / "README.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_relative_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / unquote(target)).resolve() if target else page
        if not path.exists() or not path.is_relative_to(ROOT):
            broken.append(link)
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            broken.append(link)
    assert broken == []


COMMANDS = list(commands())


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=[f"{place} {command}" for place, command in COMMANDS])
def test_commands_parse(place: str, command: str) -> None:
    if find_spec("forgeline.cli.app") is None:
        pytest.fail("the command line is missing: forgeline.cli.app")
    # Only up to the first operator of the shell; comments end the command.
    words = shlex.split(re.split(r"\s(?:\||>|&&|;|&)(?:\s|$)", command)[0], comments=True)[1:]
    check(words)


def check(words: list[str]) -> None:
    """Parse a command line with the real parser, without running what it names."""
    import typer

    from forgeline.cli.app import app

    command: Any = typer.main.get_command(app)
    context = command.make_context("forgeline", list(words), resilient_parsing=True)
    arguments = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
    while hasattr(command, "resolve_command") and arguments:
        name, command, arguments = command.resolve_command(context, arguments)
        assert command is not None, f"no such command: {name}"
        leaf = not hasattr(command, "resolve_command")
        if leaf and {"--help", "-h"} & set(arguments):
            return
        # Not resilient at the leaf: unknown options and missing arguments are errors there.
        context = command.make_context(name, list(arguments), parent=context, resilient_parsing=not leaf)
        if leaf:
            return
        arguments = [*getattr(context, "_protected_args", []), *context.args]


def test_the_python_of_the_readme_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the training: `fl.run` checks the job, prepares its data, and gives the model of its first step."""
    import forgeline as fl

    runs: list[Any] = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(fl, "run", lambda loaded, **given: runs.append(untrained(loaded, tmp_path, **given)) or runs[0])
    [example] = [body for place, body in blocks("python") if place.startswith("README.md:") and "fl.run(" in body]
    *statements, last = ast.parse(example).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    exec(compile(ast.Module(statements, type_ignores=[]), "README.md", "exec"), names)
    table = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    assert len(runs) == 1 and len(table) > 0 and set(table["prediction"]) <= {"benign", "malignant"}


def test_the_attention_maps_of_the_page_are_those_of_the_spec_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As printed, but that the model is untrained and comes from no registry."""
    import numpy as np
    from PIL import Image

    import forgeline as fl

    [example] = [
        body for place, body in blocks("python") if place.startswith("docs/arch") and "attention_maps(" in body
    ]
    loaded = fl.load(ROOT / "jobs" / "specs" / "zoo" / "vit.yaml")
    bundle = untrained(loaded, tmp_path, set={}).bundle
    monkeypatch.setattr(fl.Bundle, "load", lambda reference: bundle)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)).save("digit.png")
    names: dict[str, Any] = {}
    exec(compile(example, "docs/architectures.md", "exec"), names)
    settings: Any = loaded.spec
    side = 28 // settings.architecture.options["patch_size"]
    assert names["maps"].shape == (1, 4, 4, 1 + side * side, 1 + side * side)
    assert names["looked_at"].shape == (side, side) and 0 < names["looked_at"].sum() < 1


def untrained(loaded: Any, folder: Path, *, set: dict[str, Any]) -> Any:
    from forgeline import api, plugins
    from forgeline.bundle import Bundle
    from forgeline.metrics import METRICS
    from forgeline_jobs.train.preparation import prepare

    spec = api._loaded(loaded, set).spec
    data = prepare(spec.data)
    architecture = spec.architecture.model_dump(mode="json")
    signature = data.signature.model_dump(mode="json")
    family: Any = plugins.find(plugins.ARCHITECTURES, architecture["name"], key="architecture.name")
    bundle = Bundle.save(
        folder / "bundle",
        model_state=family.build_model(architecture, signature).state_dict(),
        architecture=architecture,
        signature=signature,
        preprocessing=data.preprocessing,
    )
    return SimpleNamespace(bundle=bundle, metrics={f"val/{name}": 0.5 for name in METRICS[data.signature.task]})


SPECIFICATIONS = [(place, body) for place, body in blocks("yaml", "yml") if re.search(r"(?m)^kind:", body)]


@pytest.mark.parametrize(("place", "body"), SPECIFICATIONS, ids=[place for place, _ in SPECIFICATIONS])
def test_specifications_are_valid(place: str, body: str) -> None:
    from forgeline.errors import SpecError
    from forgeline.spec.loading import load

    try:
        load(body)
    except SpecError as error:
        if not registered_on(ROOT / place.partition(":")[0], error):
            raise


def registered_on(page: Path, error: SpecError) -> bool:
    """Whether the only error is the name of a plug-in that the page itself shows how to register."""
    names = re.findall(r'(?m)^"?([\w-]+)"? = "[\w.]+:\w+"', page.read_text(encoding="utf-8"))
    unknown = re.match(r"unknown \w+ '([^']*)'", error.message)
    return unknown is not None and unknown[1] in names and not error.others


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "specs").glob("**/*.yaml")), ids=label)
def test_shipped_specifications_are_valid(path: Path) -> None:
    from forgeline.spec.loading import load

    loaded = load(path)
    assert load(loaded.text).spec == loaded.spec
