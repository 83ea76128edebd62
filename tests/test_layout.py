"""The rules of the house: folders, import arrows, sizes, names, and what must never be in a tracked file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = ("platform", "architectures", "jobs", "deploy")
PACKAGES = {
    "platform": "forgeline",
    "architectures": "forgeline_architectures",
    "jobs": "forgeline_jobs",
    "deploy": "forgeline_deploy",
}
ALLOWED_IMPORTS = {
    "platform": {"forgeline"},
    "architectures": {"forgeline_architectures"},
    "jobs": {"forgeline", "forgeline_architectures", "forgeline_jobs"},
    "deploy": {"forgeline", "forgeline_architectures", "forgeline_deploy"},
}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_DOCSTRING_LINES = 12
DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

# "folder/module.py" or "folder/module.py:function" -> why it may be longer than the rule says.
LONG: dict[str, str] = {}

# Split so that this file does not find itself.
FORBIDDEN = {
    "a package index": r"pypi" + r"\.org|python" + r"hosted\.org|anaconda" + r"\.org|--(extra-)?index" + r"-url",
    # `/home/me/` is what examples write.
    "a machine's path": r"(?<![\w.])/(work|root)" + r"/|/home/" + r"(?!me/)[a-z]+/|/Users" + r"/",
    "a folder outside the repository": r"\.\./" + r"shared",
}
UNSAFE_LOADS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


@cache
def tracked() -> tuple[Path, ...]:
    """Files that git tracks or would add; every file where there is no git (an unpacked source archive)."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"(^|/)(\.|__pycache__|[^/]*\.egg-info)")
        return tuple(p for p in ROOT.rglob("*") if p.is_file() and not hidden.search(p.relative_to(ROOT).as_posix()))
    names = [name for name in done.stdout.decode().split("\0") if name]
    return tuple(path for name in names if (path := ROOT / name).is_file())


def modules() -> list[Path]:
    """Every Python module of our packages."""
    homes = [ROOT / root / package for root, package in PACKAGES.items()]
    return [path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(home) for home in homes)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_there_is_something_to_check() -> None:
    assert len(modules()) > 10


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_holds_packages_and_no_python(root: str) -> None:
    loose = [name(path) for path in tracked() if path.parent == ROOT / root and path.suffix == ".py"]
    assert loose == [], f"{root}/ is a source root: no __init__.py, no module directly in it"
    inner = {path.parent for path in tracked() if path.name == "__init__.py" and path.parent.parent == ROOT / root}
    assert {path.name for path in inner} <= {PACKAGES[root]}


def test_tests_are_no_packages_and_mirror_the_source_roots() -> None:
    tests = [path for path in tracked() if path.is_relative_to(ROOT / "tests")]
    assert [name(path) for path in tests if path.name == "__init__.py"] == []
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in tests if len(path.relative_to(ROOT).parts) > 2}
    assert folders <= {*SOURCE_ROOTS, "benchmarks", "helm", "acceptance", "data"}


def test_the_standard_library_is_not_hidden() -> None:
    subprocess.run([sys.executable, "-c", "import platform; assert platform.system()"], cwd=ROOT, check=True)


def test_arrows_point_one_way() -> None:
    wrong = []
    for path in modules():
        root = path.relative_to(ROOT).parts[0]
        for imported in imports(path):
            top = imported.partition(".")[0]
            if top in PACKAGES.values() and top not in ALLOWED_IMPORTS[root]:
                wrong.append(f"{name(path)} imports {imported}")
    assert wrong == []


def test_modules_and_functions_are_short() -> None:
    long = {}
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines >= MAX_MODULE_LINES:
            long[name(path)] = lines
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length >= MAX_FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = length
    assert {place: lines for place, lines in long.items() if place not in LONG} == {}
    assert set(LONG) <= set(long), "an exception that is no longer needed: take it out of LONG"


def test_file_names_are_nouns_of_the_domain() -> None:
    parts = {name(path): {path.stem, *path.parent.parts} for path in modules()}
    assert [place for place, found in parts.items() if found & DRAWERS] == []


def test_every_module_says_what_it_is_for_in_few_lines() -> None:
    wrong = []
    for path in modules():
        docstring = ast.get_docstring(tree(path))
        empty = path.name == "__init__.py" and not tree(path).body
        # The tree of exceptions is drawn in this one, by the style.
        if name(path) == "platform/forgeline/errors.py" or empty:
            continue
        if not docstring or len(docstring.splitlines()) > MAX_DOCSTRING_LINES:
            wrong.append(name(path))
    assert wrong == []


def exporting() -> list[str]:
    found = []
    for path in modules():
        if path.name == "__init__.py" and any(
            isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
            for node in tree(path).body
        ):
            found.append(".".join(path.relative_to(ROOT).parts[1:-1]))
    return sorted(found)


@pytest.mark.parametrize("package", exporting())
def test_public_names_are_sorted_and_importable(package: str) -> None:
    module = import_module(package)
    public = list(module.__all__)
    assert public == sorted(set(public))
    assert [public_name for public_name in public if not hasattr(module, public_name)] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name(path)}:{text.count(chr(10), 0, m.start()) + 1}: {m[0]}" for m in pattern.finditer(text)]
    assert found == [], what


def test_nothing_is_loaded_by_pickle() -> None:
    wrong = []
    for path in modules():
        wrong += [f"{name(path)} imports {module}" for module in imports(path) if module.split(".")[0] in UNSAFE_LOADS]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and (reason := _unsafe(node)):
                wrong.append(f"{name(path)}:{node.lineno}: {reason}")
    assert wrong == []


def _unsafe(call: ast.Call) -> str | None:
    text = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if text == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if text in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
        return "numpy.load with allow_pickle"
    if text in ("pd.read_pickle", "pandas.read_pickle"):
        return "pandas.read_pickle"
    if re.fullmatch(r"yaml\.(unsafe_load|full_load|load|unsafe_load_all|full_load_all|load_all)", text):
        return "a YAML load that is not the specification reader's"
    if text in ("YAML", "ruamel.yaml.YAML") and given.get("typ") not in ("'safe'", "'rt'"):
        return "YAML() that is not safe"
    return None


def test_the_lock_has_names_and_versions_only() -> None:
    lock = ROOT / "requirements.lock"
    assert lock.is_file()
    line = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+(\s*;.+)?")
    lines = [text.partition(" #")[0].strip() for text in lock.read_text(encoding="utf-8").splitlines()]
    wrong = [text for text in lines if text and not text.startswith("#") and not line.fullmatch(text)]
    assert wrong == []


def test_version_changelog_and_package_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[?v?([^\]\s]+)", changelog, re.MULTILINE)
    assert headings and next(text for text in headings if text.lower() != "unreleased") == version
    assert import_module("forgeline").__version__ == version


def test_every_pinned_range_is_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {_normal(text.partition("==")[0].partition("[")[0]) for text in lock.splitlines() if "==" in text}
    wanted = {_normal(re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]) for text in project["dependencies"]}
    assert wanted - locked == set()


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()
