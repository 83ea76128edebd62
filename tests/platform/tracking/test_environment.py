from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from forgeline.tracking import environment
from forgeline.tracking.tracker import Tracker


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ann@example.org")
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    (tmp_path / "model.py").write_text("layers = 2\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "remote", "add", "origin", "https://ann:secret@example.org/models.git")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_clean_repository_is_its_commit(repository: Path) -> None:
    code = environment.code(repository)
    assert code is not None
    assert code.commit == git(repository, "rev-parse", "HEAD")
    assert (code.branch, code.diff, code.untracked, code.is_dirty) == ("main", "", 0, False)
    assert code.remote == "https://***@example.org/models.git"


def test_what_is_not_committed_is_kept(repository: Path) -> None:
    (repository / "model.py").write_text("layers = 3\n")
    (repository / "new.py").write_text("")
    code = environment.code(repository)
    assert code is not None and code.is_dirty
    assert "-layers = 2\n+layers = 3\n" in code.diff
    assert code.untracked == 1
    git(repository, "apply", "--check", "--reverse", _written(repository, code.diff))


def _written(repository: Path, diff: str) -> str:
    file = repository.parent / f"{repository.name}.diff"
    file.write_text(diff)
    return str(file)


def test_a_huge_diff_is_cut(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DIFF_LIMIT_BYTES", 1000)
    (repository / "model.py").write_text("layers = 3\n" * 10_000)
    code = environment.code(repository)
    assert code is not None
    assert len(code.diff) < 1100 and "cut at" in code.diff


def test_a_diff_program_of_the_repository_is_not_run(repository: Path) -> None:
    marker = repository / "ran"
    git(repository, "config", "diff.external", f"touch {marker}")
    (repository / "model.py").write_text("layers = 3\n")
    code = environment.code(repository)
    assert code is not None and "+layers = 3" in code.diff
    assert not marker.exists()


def test_outside_of_a_repository_there_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.code(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert environment.code(tmp_path) is None


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    code = environment.code(tmp_path)
    assert code is not None and code.commit is None


def test_packages_and_hardware_are_those_of_this_machine() -> None:
    versions, machine = environment.packages(), environment.hardware()
    assert {"mlflow", "sqlalchemy", "torch"} <= versions.keys()
    assert machine.cpu and machine.logical_cpus >= 1 and machine.memory_bytes > 1 << 28


def test_all_of_it_is_logged(tracker: Tracker, run_id: str, repository: Path) -> None:
    (repository / "model.py").write_text("layers = 3\npassword = 'secret'\nstore = 's3://me:secret@store'\n")
    environment.log(tracker, run_id, folder=repository)
    run = tracker.get(run_id)
    assert run.tags["mlflow.source.git.commit"] == git(repository, "rev-parse", "HEAD")
    assert run.tags["forgeline.code.dirty"] == "true"
    assert run.tags["forgeline.package.torch"]
    folder = Path(run.artifact_uri.removeprefix("file://")) / "environment"
    diff = (folder / "uncommitted.diff").read_text()
    assert "+layers = 3" in diff and "secret" not in diff
    assert json.loads((folder / "packages.json").read_text())["mlflow"]
    assert json.loads((folder / "hardware.json").read_text())["logical_cpus"] >= 1
    assert "secret" not in repr(run)
