"""A measurement that was interrupted is taken up again, unless spec or code have changed since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import bars, results_file

BAR = bars.Bar(name="a", spec="a.yaml", metric="loss", values=(0, 1, 2), at_most=1.0)


class Machine:
    """Specs, code and results in a folder; trainings that take no time, and fail with the seeds of `broken`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trained: list[int] = []
        self.broken: set[int] = set()
        self.before_training: Callable[[], object] = lambda: None
        for name in ("results", "jobs"):
            (folder / name).mkdir()
        self.write("a.yaml", "kind: train")
        self.write("jobs/code.py", "x = 1")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, spec: Path, *, set: dict[str, Any]) -> Any:
        self.before_training()
        seed = set["trainer.seed"]
        if seed in self.broken:
            return SimpleNamespace(state="failed", message="interrupted")
        self.trained.append(seed)
        return SimpleNamespace(state="succeeded", id=seed)

    def interrupted_at(self, seed: int) -> None:
        self.broken = {seed}
        with pytest.raises(RuntimeError, match="interrupted"):
            bars.measure(BAR, lambda text: None)
        self.broken = set()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(results_file, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results_file, "ROOT", tmp_path)
    monkeypatch.setattr(bars, "SPECS", tmp_path)
    monkeypatch.setattr("forgeline.run", machine.run)
    monkeypatch.setattr(bars, "evaluate", lambda run, metric: float(run.id))
    return machine


def test_what_was_measured_is_kept(machine: Machine) -> None:
    machine.interrupted_at(2)
    row = bars.measure(BAR, lambda text: None)
    assert machine.trained == [0, 1, 2]
    assert row["scores"] == [0.0, 1.0, 2.0] and row["mean"] == 1.0 and row["met"]
    assert row["sources"] == [results_file.source_digest()]
    assert list((machine.folder / "results").iterdir()) == []


@pytest.mark.parametrize("changed", ["a.yaml", "jobs/code.py", "jobs/more.py"])
def test_seeds_of_another_spec_or_code_are_measured_again(machine: Machine, changed: str) -> None:
    machine.interrupted_at(2)
    machine.write(changed, "another = 2")
    bars.measure(BAR, lambda text: None)
    assert machine.trained == [0, 1, 0, 1, 2]


def test_code_that_changed_while_a_bar_was_measured_is_noticed_later(machine: Machine) -> None:
    first = results_file.source_digest()
    machine.before_training = lambda: machine.write("jobs/code.py", f"x = {1 + len(machine.trained)}")
    machine.interrupted_at(2)
    assert machine.trained == [0, 1]
    last = results_file.source_digest()
    machine.before_training = lambda: None
    assert bars.measure(BAR, lambda text: None)["sources"] == [last], "the first two were not all of this code"
    assert machine.trained == [0, 1, 0, 1, 2] and first != last


def test_a_row_has_all_the_code_that_it_was_measured_with(machine: Machine) -> None:
    first = results_file.source_digest()
    machine.before_training = lambda: machine.write("jobs/code.py", "x = 1" if not machine.trained else "x = 2")
    row = bars.measure(BAR, lambda text: None)
    assert machine.trained == [0, 1, 2] and row["sources"] == [first, results_file.source_digest()]
