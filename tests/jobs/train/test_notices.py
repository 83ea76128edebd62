from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from forgeline_jobs.train.evidence import record_failure
from forgeline_jobs.train.notices import NOTICE, Notices, leave, told


@pytest.fixture(autouse=True)
def others() -> Iterator[list[int]]:
    """Signals that reached whoever had SIGTERM before."""
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("early", [True, False])
def test_sigterm_is_a_notice_while_a_worker_trains(tmp_path: Path, others: list[int], early: bool) -> None:
    notices = Notices()
    notices.listen()
    notices.listen()
    notices.begin(tmp_path, 1)
    assert not notices.received()
    os.kill(os.getpid(), signal.SIGTERM)
    assert notices.received()
    assert json.loads((tmp_path / NOTICE).read_text()) == {"rank": 1, "why": "it got SIGTERM"}
    notices.end()
    os.kill(os.getpid(), signal.SIGTERM)
    assert others == [signal.SIGTERM]


def test_rank_0_stands_for_all_and_the_first_notice_stays(tmp_path: Path) -> None:
    first, second = Notices(), Notices()
    first.begin(tmp_path, 0)
    second.begin(tmp_path, 1)
    leave(tmp_path, 1, "its node is being drained")
    leave(tmp_path, 0, "later")
    assert (first.received(), second.received()) == (True, False)
    assert json.loads((tmp_path / NOTICE).read_text())["rank"] == 1
    assert told(tmp_path) == {0, 1}


def test_the_sigterm_with_which_ray_ends_what_is_left_is_no_notice(
    tmp_path: Path, others: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    notices = Notices()
    notices.listen()
    notices.begin(tmp_path, 0)
    record_failure(tmp_path, 1, ValueError("bad labels"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert (others, notices.received(), told(tmp_path)) == ([signal.SIGTERM], False, set())
