from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.tracking import spool as spools
from forgeline.tracking.spool import Spool, SpoolReader, checked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "attempts" / "1" / "spool-0.jsonl"


def test_what_is_written_is_read_once_and_in_order(path: Path) -> None:
    reader = SpoolReader(path)
    assert reader.read_new() == []
    with Spool(path) as spool:
        spool.metrics(1, {"train/loss": 0.5})
        spool.event("checkpoint", step=1, path="step-1")
        first, second = reader.read_new()
        assert reader.read_new() == []
        spool.metrics(2, {"train/loss": 0.25})
        (third,) = reader.read_new()
    assert (first["kind"], first["step"], first["values"]) == ("metrics", 1, {"train/loss": 0.5})
    assert (second["kind"], second["event"], second["path"]) == ("event", "checkpoint", "step-1")
    assert third["step"] == 2 and third["time"] >= first["time"]


def test_numbers_of_any_kind_survive(path: Path) -> None:
    with Spool(path) as spool:
        spool.metrics(1, {"a": np.float32(0.5), "b": math.nan, "c": math.inf, "d": 3})
    (line,) = SpoolReader(path).read_new()
    values = line["values"]
    assert values["a"] == 0.5 and math.isnan(values["b"]) and values["c"] == math.inf and values["d"] == 3.0


def test_a_torn_line_waits_and_a_next_writer_begins_a_new_one(path: Path) -> None:
    with Spool(path) as spool:
        spool.metrics(1, {"loss": 1.0})
    with path.open("ab") as stream:
        stream.write(b'{"kind":"metrics","st')
    reader = SpoolReader(path)
    assert [line["step"] for line in reader.read_new()] == [1]
    assert reader.damaged == 0, "it may still be completed"
    with Spool(path) as spool:
        spool.metrics(2, {"loss": 0.5})
    assert [line["step"] for line in reader.read_new()] == [2]
    assert reader.damaged == 1


def test_lines_that_are_no_objects_are_counted_and_passed_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[1]\n\xff\xfe\n\n" + checked(b'{"kind":"event","event":"x"}'))
    reader = SpoolReader(path)
    assert [line["event"] for line in reader.read_new()] == ["x"]
    assert reader.damaged == 2


@given(place=st.integers(0), byte=st.integers(0, 255))
def test_a_byte_that_was_altered_costs_its_line_and_nothing_else(place: int, byte: int) -> None:
    lines = [
        checked(json.dumps({"kind": "metrics", "step": step, "values": {"loss": 0.5}}).encode()) for step in (1, 2)
    ]
    content = bytearray(b"".join(lines))
    place %= len(content) - 1
    altered = content[place] != byte
    content[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        reader = SpoolReader(Path(folder, "spool"))
        Path(folder, "spool").write_bytes(content)
        read = reader.read_new()
    if place == len(lines[0]) - 1 and altered:
        # Without its end the first line swallows the second.
        assert read == [] and reader.damaged == 1
        return
    steps = {1, 2} - ({1 if place < len(lines[0]) else 2} if altered else set())
    assert [line["step"] for line in read] == sorted(steps)
    assert all(line["values"] == {"loss": 0.5} for line in read)
    assert reader.damaged == (0 if not altered else 2 if byte == ord("\n") and 0 < place % len(lines[0]) else 1)


def test_a_spool_of_an_older_forgeline_has_no_checksums(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"kind":"event","event":"x"}\n{"kind":"event","event":"y"}\n{"kind"\n')
    first, second = SpoolReader(path), SpoolReader(path, start=29)
    assert [line["event"] for line in first.read_new()] == ["x", "y"]
    assert [line["event"] for line in second.read_new()] == ["y"]
    assert first.damaged == second.damaged == 1


def test_a_line_without_a_checksum_among_others_is_damaged(path: Path) -> None:
    with Spool(path) as spool:
        spool.event("x")
    with path.open("ab") as stream:
        stream.write(b'{"kind":"event","event":"y"}\n')
    reader = SpoolReader(path)
    assert [line["event"] for line in reader.read_new()] == ["x"]
    assert reader.damaged == 1


def test_a_line_that_was_cut_at_the_end_is_noticed(path: Path) -> None:
    with Spool(path) as spool:
        spool.event("x")
    reader = SpoolReader(path)
    reader.read_new()
    assert not reader.cut_at_end()
    with path.open("ab") as stream:
        stream.write(b'{"kind"')
    reader.read_new()
    assert reader.cut_at_end() and reader.damaged == 0


class Disk:
    """Takes as many bytes of a write as it has room for, or refuses it."""

    def __init__(self) -> None:
        self.room = 2**20
        self._write = os.write

    def write(self, file: int, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(file, bytes(content[: self.room]))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write)
    return disk


def test_a_full_disk_costs_no_step_and_no_point(path: Path, disk: Disk) -> None:
    with Spool(path) as spool:
        spool.metrics(1, {"loss": 0.5})
        disk.room = 10  # half a line, then nothing
        spool.metrics(2, {"loss": 0.5})
        disk.room = 0
        spool.metrics(3, {"loss": 0.5})
        reader = SpoolReader(path)
        assert [line["step"] for line in reader.read_new()] == [1]
        disk.room = 2**20
        spool.metrics(4, {"loss": 0.5})
    assert [line["step"] for line in reader.read_new()] == [2, 3, 4]
    assert reader.damaged == 0


def test_what_waits_is_written_at_the_end_if_there_is_room(path: Path, disk: Disk) -> None:
    with Spool(path) as spool:
        disk.room = 0
        spool.metrics(1, {"loss": 0.5})
        disk.room = 2**20
    with Spool(path) as spool:
        disk.room = 0
        spool.metrics(2, {"loss": 0.5})
    assert [line["step"] for line in SpoolReader(path).read_new()] == [1]


@pytest.mark.parametrize("at_the_end", [False, True])
def test_more_than_may_wait_is_dropped_and_told(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    monkeypatch.setattr(spools, "_WAITING_BYTES", 150)
    with Spool(path) as spool:
        disk.room = 0
        for step in (1, 2, 3, 4):
            spool.metrics(step, {"loss": 0.5})
        spool.event("checkpoint", step=4, path="step-4")
        disk.room = 2**20
        if not at_the_end:
            spool.metrics(5, {"loss": 0.5})
    reader = SpoolReader(path)
    lines = reader.read_new()
    if not at_the_end:
        assert lines.pop()["step"] == 5
    *kept, checkpoint, told = lines
    assert [line["step"] for line in kept] == [1, 2]
    assert (checkpoint["event"], checkpoint["step"]) == ("checkpoint", 4)
    assert (told["event"], told["level"], told["dropped"]) == ("message", "warning", 2)
    assert reader.damaged == 0


def test_line_separators_inside_a_text_do_not_end_a_line(path: Path) -> None:
    text = "a\u2028b\u0085c\nd\re"
    with Spool(path) as spool:
        spool.event("message", text=text)
    (line,) = SpoolReader(path).read_new()
    assert line["text"] == text


def test_nothing_that_was_written_is_lost_when_the_writer_is_killed(path: Path) -> None:
    code = (
        "import itertools, sys\n"
        "from pathlib import Path\n"
        "from forgeline.tracking.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "for step in itertools.count():\n"
        "    spool.metrics(step, {'loss': step * 0.5})\n"
        "    if step == 100: print('ready', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    steps = [line["step"] for line in SpoolReader(path).read_new()]
    assert steps == list(range(len(steps)))
    assert len(steps) > 100


def test_lines_are_json(path: Path) -> None:
    with Spool(path) as spool:
        spool.metrics(1, {"train/loss": 0.5})
        spool.close()
    assert json.loads(path.read_text())["values"] == {"train/loss": 0.5}
