from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forgeline.launching.attempt_loss import measure
from forgeline.ledger.records import AttemptRecord

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def attempt(took_s: float) -> AttemptRecord:
    return AttemptRecord(
        run_id="r", number=1, cause="first", started=BEGAN, ended=BEGAN + timedelta(seconds=took_s), outcome=None,
        reason=None, message=None, first_step=0, last_step=None, workers=2, gpus=0.0, lost_s=None,
    )  # fmt: skip


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A step a second after 20 s, and the machine's load under a later step, which is none of training's."""
    path = tmp_path / "spool-0.jsonl"
    with path.open("w") as file:
        for step in range(1, 61):
            at = BEGAN + timedelta(seconds=20 + step)
            values = {"train/loss": 1.0}
            file.write(
                json.dumps({"kind": "metrics", "step": step, "time": at.timestamp() * 1000, "values": values}) + "\n"
            )
        file.write(json.dumps({"kind": "metrics", "step": 99, "time": 0, "values": {"system/cpu": 1.0}}) + "\n")
        file.write('{"kind": "metrics", "step"')
    return path


@pytest.mark.parametrize(("next_step", "lost_s"), [(0, 90.0), (50, 20.0), (60, 10.0)])
def test_what_follows_the_checkpoint_is_lost(spool: Path, next_step: int, lost_s: float) -> None:
    loss = measure(attempt(90), spool, next_step)
    assert (loss.last_step, loss.seconds) == (60, pytest.approx(lost_s))


def test_a_clock_that_jumps_never_makes_a_loss_negative_or_longer_than_the_attempt(spool: Path) -> None:
    assert measure(attempt(30), spool, 50).seconds == 0
    assert measure(attempt(90), spool.with_name("none"), 0).seconds == 90
    assert measure(attempt(90), spool.with_name("none"), 0).last_step is None
