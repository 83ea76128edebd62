"""What the driver makes of the workers' spool files."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from forgeline.launching.streaming import SpoolStream
from forgeline.tracking.spool import Spool


def test_the_summary_is_how_good_the_model_is_and_everything_is_shipped(tmp_path: Path) -> None:
    shipped: list[Any] = []
    told: list[dict[str, float]] = []
    tracker = SimpleNamespace(log_points=lambda run_id, points: shipped.extend(points))
    stream = SpoolStream(
        tracker=cast(Any, tracker), run_id="r", events=cast(Any, None), on_metrics=lambda new: told.append(dict(new))
    )
    path = tmp_path / "spool-0.jsonl"
    stream.watch(path)
    spool = Spool(path)
    spool.metrics(1, {"train/loss": 2.0, "train/lr": 0.1, "system/cpu_percent": 50.0, "val/accuracy": 0.5})
    spool.close()
    until = time.monotonic() + 5
    while not told and time.monotonic() < until:
        time.sleep(0.02)
    assert stream.close(within_s=5) is None
    assert told == [{"train/loss": 2.0, "val/accuracy": 0.5}] == [stream.last_metrics]
    assert {point.key for point in shipped} == {"train/loss", "train/lr", "system/cpu_percent", "val/accuracy"}
