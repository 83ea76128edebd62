"""A run that becomes a copy of another one has its checkpoints, and keeps them when the other goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forgeline.paths import RunPaths
from forgeline_jobs.sweep import copying
from forgeline_jobs.train import checkpoint


def written(paths: RunPaths, step: int, text: str) -> None:
    folder = paths.checkpoints / checkpoint.folder_name(step)
    (folder / "shards").mkdir(parents=True)
    (folder / checkpoint.STATE).write_text(text)
    (folder / "shards" / "0").write_text(text)


@pytest.fixture
def two(tmp_path: Path) -> tuple[RunPaths, RunPaths]:
    target, source = RunPaths(tmp_path, "target"), RunPaths(tmp_path, "source")
    written(target, 10, "its own")
    written(target, 20, "its own")
    written(source, 20, "the other's")
    return target, source


def held(paths: RunPaths) -> dict[int, str]:
    return {
        step: (folder / checkpoint.STATE).read_text() for step, folder in checkpoint.by_step(paths.checkpoints).items()
    }


def test_it_has_the_checkpoints_of_the_other_and_none_of_its_own(two: tuple[RunPaths, RunPaths]) -> None:
    target, source = two
    assert not copying.is_made(target, "source", 2)
    copying.make(target, source, 2)
    assert held(target) == {20: "the other's"} == held(source)
    assert copying.is_made(target, "source", 2)
    assert not copying.is_made(target, "source", 3) and not copying.is_made(target, "another", 2)


def test_it_keeps_them_when_the_other_removes_them(two: tuple[RunPaths, RunPaths]) -> None:
    target, source = two
    copying.make(target, source, 2)
    shutil.rmtree(source.checkpoints / checkpoint.folder_name(20))
    assert held(target) == {20: "the other's"}
    assert (target.checkpoints / checkpoint.folder_name(20) / "shards" / "0").read_text() == "the other's"


def test_killed_on_the_way_it_is_made_again(two: tuple[RunPaths, RunPaths], monkeypatch: pytest.MonkeyPatch) -> None:
    target, source = two

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(Killed):
            copying.make(target, source, 2)
    assert not copying.is_made(target, "source", 2)
    copying.make(target, source, 2)
    assert held(target) == {20: "the other's"}
    assert [path.name for path in target.root.iterdir()] == ["checkpoints"]
