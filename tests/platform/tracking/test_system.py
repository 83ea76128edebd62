from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from forgeline.tracking.spool import Spool, SpoolReader
from forgeline.tracking.system import Meter, SystemSampler


def test_a_reading_is_in_its_bounds() -> None:
    meter = Meter()
    values = meter.read()
    meter.close()
    assert 0 <= values["system/cpu_percent"] <= 100
    assert 0 < values["system/memory_percent"] < 100
    assert values["system/process_memory_gib"] > 0.01


def test_even_the_shortest_training_has_a_sample(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    with SystemSampler(spool, step=lambda: 7, interval_s=3600):
        pass
    (line,) = SpoolReader(tmp_path / "spool.jsonl").read_new()
    assert line["step"] == 7
    assert "system/cpu_percent" in line["values"]


def test_samples_come_while_training_goes_on() -> None:
    class Counting(Spool):
        def __init__(self) -> None:
            self.seen = 0
            self.enough = threading.Event()

        def metrics(self, step: int, values: Mapping[str, float]) -> None:
            self.seen += 1
            if self.seen == 3:
                self.enough.set()

    spool = Counting()
    with SystemSampler(spool, step=lambda: 0, interval_s=0.01):
        assert spool.enough.wait(60)
