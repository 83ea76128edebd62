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
HUNGRY = {"name": "faulty", "hidden": [16], "sample_mib": 160}
SHORT = {"trainer.micro_batch": "auto", "trainer.steps": 20, "trainer.validate_every": "10step"}


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


@pytest.mark.usefixtures("faulty")
def test_memory_that_runs_out_halves_the_micro_batch_and_keeps_the_batch() -> None:
    """A sample takes 160 MiB, and each worker may have 1,024 more: 8 samples are too many, 4 are not."""
    run = fl.run(load({**WINE, "architecture": HUNGRY, "strategy": "ddp"}, set=SHORT))
    assert run.state == "succeeded", (run.message, run.logs())
    first, second = run.attempts
    assert first.chosen is not None and first.chosen["micro_batch"] == 8
    assert (first.reason, second.cause) == ("out_of_memory", "out_of_memory")
    assert second.chosen is not None and second.chosen["micro_batch"] == 4
    assert second.chosen["why"] == "memory ran out with 8 samples at once"
    assert "micro-batches of 4 in place of 8" in run.paths.events.read_text(encoding="utf-8")


@pytest.mark.usefixtures("faulty")
def test_memory_that_is_too_little_for_one_sample_fails_the_run_and_says_so() -> None:
    spec = {**WINE, "architecture": {**HUNGRY, "sample_mib": 1200}, "strategy": "ddp"}
    run = fl.run(load(spec, set={**SHORT, "data.batch_size": 4}))
    assert (run.state, run.reason) == ("failed", "out_of_memory")
    assert [attempt.chosen["micro_batch"] for attempt in run.attempts if attempt.chosen] == [2, 1]
    assert "1 samples at once are the least that trainer.micro_batch can be" in str(run.message)
