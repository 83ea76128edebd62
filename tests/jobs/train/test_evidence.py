from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from forgeline_jobs.train.evidence import FAILURE, crash, failures, record_failure


def test_the_first_rank_to_fail_stands_first_and_all_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_failure(tmp_path, 1, ValueError("bad labels"))
    record_failure(tmp_path, 0, KeyError("worse"))
    assert [(one.rank, one.type) for one in failures(tmp_path)] == [(1, "ValueError"), (0, "KeyError")]
    (tmp_path / FAILURE).unlink()
    (tmp_path / FAILURE).write_text('{"rank": 1, "type":')
    assert [one.rank for one in failures(tmp_path)] == [0, 1]


def test_a_full_disk_does_not_hide_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_failure(tmp_path / "gone", 0, ValueError("bad labels"))
    assert "bad labels" in capsys.readouterr().err
    assert failures(tmp_path / "gone") == []


def test_the_last_words_of_a_process_that_crashed_are_found(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    assert crash(log) is None
    with log.open("w") as file:
        code = "import faulthandler, os; faulthandler.enable(); os.abort()"
        subprocess.run([sys.executable, "-c", code], stderr=file, check=False)
    assert crash(log) == "Aborted"
    log.write_text("ValueError: no\n")
    assert crash(log) is None
