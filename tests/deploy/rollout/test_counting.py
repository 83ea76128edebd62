"""Counting answers and labels as they come."""

from __future__ import annotations

import math

import pytest

from forgeline_deploy.rollout import Counting, GuardConfig, LossScale, StepCounts

GUARD = GuardConfig.model_validate({"p99": "100ms", "p50": "20ms"})


def test_answers_and_labels_are_counted() -> None:
    counting = Counting(GUARD, LossScale("error_rate"))
    counting.answered("champion", seconds=9.0)
    for seconds in (0.01, 0.05, 0.2):
        counting.answered("challenger", seconds=seconds)
    counting.answered("challenger", seconds=0.001, failed=True)
    counting.shadowed(agree=True)
    counting.shadowed(agree=False)
    counting.pair(champion="3", challenger="5", label="3")
    counting.pair(champion="3", challenger="5", label="5")
    counting.pair(champion="3", challenger="5", label="8")
    counting.labelled("champion", answer=1, label=1)
    counting.labelled("challenger", answer=1, label=2)
    assert counting.counts() == StepCounts(
        champion_requests=1,
        requests=4,
        errors=1,
        slow={"p50": 2, "p99": 1},
        shadowed=2,
        disagreements=1,
        pairs={-1: 1, 0: 1, 1: 1},
        champion_losses={0: 2, 1: 2},
        challenger_losses={1: 1},
    )


@pytest.mark.parametrize(
    ("scale", "answer", "label", "loss"),
    [
        (LossScale("absolute_error", 2.0), 1.5, 1.0, 0.5),
        (LossScale("absolute_error", 2.0), 100.0, 1.0, 2.0),
        (LossScale("squared_error", 2.0), 2.0, 1.0, 1.0),
        (LossScale("log_loss", 5.0), 0.5, "cat", math.log(2)),
        (LossScale("log_loss", 5.0), 0.0, "cat", 5.0),
        (LossScale("error_rate"), "cat", "dog", 1.0),
    ],
)
def test_losses_are_held_to_the_bound(scale: LossScale, answer: object, label: object, loss: float) -> None:
    assert scale.loss(answer, label) == pytest.approx(loss)
    level = scale.level(loss)
    assert level / scale.levels * scale.bound <= loss + 1e-12
    assert level == scale.levels or loss < (level + 1) / scale.levels * scale.bound


@pytest.mark.parametrize(
    ("scale", "answer"), [(LossScale("absolute_error", 1.0), float("nan")), (LossScale("log_loss", 1.0), 1.5)]
)
def test_an_answer_that_has_no_loss_is_refused_and_counts_nothing(scale: LossScale, answer: float) -> None:
    counting = Counting(GUARD, scale)
    with pytest.raises(ValueError, match="got"):
        counting.pair(champion=answer, challenger=0.5, label=0.5)
    assert counting.counts() == Counting(GUARD).counts()


def test_without_a_comparison_there_are_no_labels_to_count() -> None:
    with pytest.raises(ValueError, match="rollout.compare"):
        Counting(GUARD).labelled("champion", answer=1, label=1)
