"""Labels that come late: joined by request, each once, and what is wrong with them is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor import MonitorConfig
from forgeline_deploy.monitor.labels import label_files, labelled_by_stream
from tests.deploy.monitor.test_monitor import CONFIG, Watching
from tests.deploy.monitor.traffic import CHAMPION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "labels"
    path.mkdir()
    return path


@pytest.fixture
def watching(journal: Journal, tmp_path: Path, folder: Path, reference: Reference) -> Watching:
    given = CONFIG.model_dump() | {"labels": {"path": str(folder / "*.parquet")}, "bounds": {"accuracy": "90%"}}
    return Watching(journal, tmp_path / "windows", reference, config=MonitorConfig.model_validate(given))


def put(path: Path, requests: Sequence[str | None], labels: Sequence[Any], *, at: float) -> None:
    pq.write_table(pa.table({"request_id": list(requests), "label": list(labels)}), path)
    os.utime(path, (at, at))


def answers(watching: Watching) -> dict[str, str]:
    store = watching.monitor.store
    return {answer.request: answer.prediction for one in store.windows for _, answer in store.folder.answers(one)}


def test_labels_are_held_against_answers_and_bad_ones_told(watching: Watching, folder: Path) -> None:
    watching.window(0)
    given = answers(watching)
    right = list(given)[:100]
    requests: list[str | None] = [*right, *right[:3], "nobody", None]
    put(
        folder / "one.parquet",
        requests,
        [*(given[request] for request in right), "no", "no", "no", "yes", "yes"],
        at=20,
    )
    assert watching.monitor.look_for_labels(30.0) == []  # a request of just now may not be in a stored window yet
    [file] = watching.monitor.look_for_labels(50.0)
    assert (file.rows, file.unknown, file.duplicates, file.empty) == (105, 1, 3, 1)
    assert file.by_stream[CHAMPION].rows == file.by_stream[CHAMPION].correct == 100 and file.findings == ()
    [line] = watching.told
    assert "1 of requests that no stored window has, 3 of requests that had one already, 1 without" in line


def test_wrong_answers_are_paged_also_after_a_restart_and_no_label_counts_twice(
    watching: Watching, folder: Path
) -> None:
    watching.window(0)
    given = list(answers(watching).items())
    put(folder / "a.parquet", [name for name, _ in given[:50]], [answer for _, answer in given[:50]], at=20)
    assert watching.monitor.look_for_labels(50.0)[0].findings == ()
    watching.begin(60.0)
    put(folder / "a-again.parquet", [name for name, _ in given[:50]], [answer for _, answer in given[:50]], at=20)
    wrong = ["no" if answer == "yes" else "yes" for _, answer in given[50:100]]
    put(folder / "b.parquet", [name for name, _ in given[40:100]], [*["yes"] * 10, *wrong], at=60)
    [file] = watching.monitor.look_for_labels(100.0)
    assert file.duplicates == 10 and file.by_stream[CHAMPION].correct == 0
    [finding] = file.findings
    assert (finding.severity, finding.about, finding.value) == ("page", "performance", 0.0)
    found = labelled_by_stream(label_files(watching.journal.entries))[CHAMPION]
    assert (found.rows, found.correct) == (100, 50)
    # Two weeks later nobody waits for their labels: they are of no young window, and not remembered.
    for days, name in ((15, "c"), (16, "d")):
        put(folder / f"{name}.parquet", [name for name, _ in given[days:100]], ["yes"] * (100 - days), at=60)
        [file] = watching.monitor.look_for_labels(days * 86_400.0)
        assert (file.unknown, file.duplicates, file.by_stream) == (100 - days, 0, {})
        watching.begin(days * 86_400.0 + 60.0)


def test_a_file_that_is_half_written_is_left_for_later(watching: Watching, folder: Path) -> None:
    watching.window(0)
    path, given = folder / "one.parquet", list(answers(watching).items())
    put(path, [name for name, _ in given], [answer for _, answer in given], at=20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    os.utime(path, (20, 20))
    assert watching.monitor.look_for_labels(50.0) == []
    assert "is not whole yet" in watching.told[0]
    path.write_bytes(whole)
    os.utime(path, (21, 21))
    assert watching.monitor.look_for_labels(70.0)[0].by_stream[CHAMPION].rows == 200
    (folder / "other.parquet").write_bytes(b"no parquet")
    put(folder / "third.parquet", ["a"], [1], at=20)
    pq.write_table(pa.table({"id": ["a"]}), folder / "columns.parquet")
    os.utime(folder / "columns.parquet", (20, 20))
    watching.monitor.look_for_labels(90.0)
    assert any("no column 'request_id'; it has id" in line for line in watching.told)


def test_numbers_are_held_against_labels_by_distance() -> None:
    from forgeline_deploy.monitor.labels import _held
    from forgeline_deploy.monitor.pane import Answer

    held = [_held(Answer("a", "2.0"), "2.5"), _held(Answer("b", "1.0"), "0.5"), _held(Answer("c", "1.0"), "none")]
    together = held[0] + held[1] + held[2]
    assert together.rows == 2 and together.error is not None and together.error.mean == 0.5
