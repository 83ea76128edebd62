from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_jobs.train import heartbeat
from forgeline_jobs.train.heartbeat import Heart, Identity, Phase, read, read_all

IN_A_BATCH = [Phase.FORWARD, Phase.BACKWARD, Phase.STEPPING, Phase.LOADING]


def test_a_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat-3"
    assert read(path) is None
    heart = Heart(path, Identity.own(3, node="abc"))
    first = read(path)
    assert first is not None and (first.phase, first.fresh, first.place) == (Phase.STARTING, True, (0, 1))
    heart.begin_batch(41, 20)
    heart.beat(Phase.BACKWARD)
    now = read(path)
    assert now is not None
    assert (now.phase, now.batch, now.count, now.step) == (Phase.BACKWARD, 41, 2, 20)
    assert (now.who.rank, now.who.pid, now.who.node) == (3, os.getpid(), "abc")
    assert read_all(tmp_path) == {3: now}


def test_a_phase_is_fresh_until_it_was_left_once(tmp_path: Path) -> None:
    heart = Heart(tmp_path / "heartbeat-0", Identity.own(0))
    fresh = []
    for batch in (0, 1):
        heart.begin_batch(batch, batch)
        for phase in (Phase.FORWARD, Phase.BACKWARD):
            heart.beat(phase)
            beat = read(tmp_path / "heartbeat-0")
            assert beat is not None
            fresh.append(beat.fresh)
    assert fresh == [True, True, False, False]


def test_ranks_with_different_numbers_of_batches_to_validate_are_level_when_they_measure(tmp_path: Path) -> None:
    for rank, batches in ((0, 5), (1, 4)):
        heart = Heart(tmp_path / f"heartbeat-{rank}", Identity.own(rank))
        heart.begin_batch(7, 7)
        for _ in range(batches):
            heart.beat(Phase.VALIDATING)
        heart.beat(Phase.MEASURING)
    beats = read_all(tmp_path)
    assert beats[0].count > 1 << 32 and beats[1].count > 1 << 32


@settings(deadline=None)  # a busy disk is not what is tested
@given(st.lists(st.sampled_from(IN_A_BATCH), max_size=20), st.integers(0, 2**40))
def test_whatever_a_rank_does_its_place_only_grows(phases: list[Phase], batch: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "heartbeat-0")
        heart, places = Heart(path, Identity.own(0)), []
        heart.begin_batch(batch, batch)
        for phase in [*phases, None]:
            heart.beat(phase) if phase is not None else heart.begin_batch(batch + 1, batch)
            beat = read(path)
            assert beat is not None
            places.append(beat.place)
    assert places == sorted(set(places))


def test_a_file_that_another_process_is_still_creating_is_no_beat(tmp_path: Path) -> None:
    (tmp_path / "heartbeat-0").write_bytes(b"\0" * 60)
    assert read_all(tmp_path) == {}


def test_a_killed_worker_leaves_its_last_beat(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from forgeline_jobs.train.heartbeat import *\n"
        "heart = Heart(Path(sys.argv[1]), Identity.own(0)); heart.begin_batch(9, 9); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "heartbeat-0")], check=False)
    assert read_all(tmp_path)[0].step == 9


def test_the_kernel_tells_how_many_it_killed() -> None:
    count = heartbeat.oom_kills()
    assert count is None or count >= 0
