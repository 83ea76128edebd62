"""A row stands for the spec that was measured, and for no later one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import results_file


def test_a_row_is_current_until_its_spec_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_file, "SPECS", tmp_path)
    spec = tmp_path / "a.yaml"
    spec.write_text("kind: train\n", encoding="utf-8")
    row = results_file.stamped({"spec": "a.yaml", "met": True})
    assert row["met"] and results_file.is_current(row)
    spec.write_text("kind: train\nname: another\n", encoding="utf-8")
    assert not results_file.is_current(row)
    assert not results_file.is_current({"spec": "a.yaml", "met": True}), "nothing says which spec it was"


def test_a_row_without_a_spec_stays_and_a_missing_one_does_not() -> None:
    assert results_file.is_current(results_file.stamped({"met": True}))
    assert not results_file.is_current(None)


def test_every_committed_row_is_of_the_spec_as_it_is() -> None:
    rows = {
        (path.stem, name): row
        for path in results_file.RESULTS.glob("*.json")
        if not path.stem.startswith("unfinished-")
        for name, row in results_file.read(path.stem).get("rows", {}).items()
    }
    assert [name for name, row in rows.items() if not results_file.is_current(row)] == []
