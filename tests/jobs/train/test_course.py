"""The course of a run over its attempts, with a real Ray: what is chosen for them, and what stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import forgeline as fl
from forgeline.spec.loading import load

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.ray, pytest.mark.acceptance]

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"steps": 400, "validate_every": "50step"},
    "resources": {"workers": 2},
    "strategy": "auto",
}


def test_a_resumed_run_keeps_the_strategy_that_auto_took_at_first() -> None:
    """With little memory it takes another one than with much."""
    needed = {row["label"]: row["total"] for row in fl.plan(load(WINE)).data["memory"]}
    tight = {"resources.memory_per_worker": f"{int((needed['ddp'] - 1) / 0.9)}B"}

    def stop(event: Mapping[str, Any]) -> None:
        if event["event"] == "checkpoint":
            fl.get(run_ids[0]).cancel()
        elif event["event"] == "run":
            run_ids.append(event["run_id"])

    run_ids: list[str] = []
    stopped = fl.run(load(WINE, set=tight), progress=stop)
    assert stopped.state == "cancelled", stopped.message
    again = fl.run(load(WINE), resume=stopped.id)
    assert again.state == "succeeded", again.message
    first, second = again.attempts
    assert first.chosen is not None and first.chosen["strategy"] == "deepspeed zero 1"
    assert second.chosen == first.chosen
    assert second.first_step is not None and second.first_step > 0
