"""Who is worse: in shadow and in canary steps, of classes and of numbers, and what is seen only by real traffic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgeline_deploy.rollout import CompareConfig, Evidence, LossScale, StepCounts
from forgeline_deploy.rollout.comparison import Comparison, compare
from forgeline_deploy.rollout.spec import parse_mode

STEPS = parse_mode("shadow -> canary 5% -> 25% -> 100%")


def compared(cells: dict[int, StepCounts], **config: Any) -> Comparison:
    evidence = Evidence({(step, "labels"): counts for step, counts in cells.items()})
    return compare(evidence, STEPS, CompareConfig(**config), {})


def pairs(worse: int, better: int, same: int) -> StepCounts:
    return StepCounts(pairs={1: worse, -1: better, 0: same})


def canary(champion: tuple[int, int], challenger: tuple[int, int]) -> StepCounts:
    """Each as answers and wrong ones."""
    return StepCounts(
        champion_losses={0: champion[0] - champion[1], 1: champion[1]},
        challenger_losses={0: challenger[0] - challenger[1], 1: challenger[1]},
    )


def test_equal_models_are_not_worse_and_the_interval_has_0() -> None:
    found = compared({0: pairs(100, 100, 3800)})
    assert found.is_not_worse and not found.is_worse
    assert found.difference == 0
    assert found.interval is not None and -0.02 < found.interval[0] < 0 < found.interval[1] < 0.02


def test_a_worse_model_is_worse_and_the_interval_says_by_how_much() -> None:
    found = compared({0: pairs(400, 100, 3500)})
    assert found.is_worse and not found.is_not_worse
    assert found.difference == pytest.approx(0.075)
    assert found.interval is not None and 0.02 < found.interval[0] < 0.075 < found.interval[1]


def test_nothing_is_decided_without_labels_or_with_few() -> None:
    none = compared({})
    assert (none.difference, none.interval, none.labelled) == (None, None, 0)
    few = compared({0: pairs(60, 0, 0)})
    assert not few.is_worse and compared({0: pairs(60, 0, 0)}, min_labels=60).is_worse


def test_canary_answers_are_weighted_by_their_share() -> None:
    found = compared({1: canary((19_000, 950), (1000, 150))})
    assert found.difference == pytest.approx(0.1, abs=0.001)
    assert found.is_worse


def test_harm_that_only_traffic_shows_is_not_made_up_for_by_the_shadow() -> None:
    in_shadow = pairs(100, 600, 9300)
    assert compared({0: in_shadow}).is_not_worse
    found = compared({0: in_shadow, 1: canary((19_000, 950), (1000, 250))})
    assert found.is_worse


def test_labels_of_the_last_step_have_nothing_to_be_compared_with() -> None:
    assert compared({3: canary((0, 0), (1000, 900))}).labelled == 0


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_numbers_are_compared_in_their_unit(shift: float) -> None:
    draw = np.random.default_rng(0)
    scale = LossScale("absolute_error", 5.0)
    levels = [scale.level_of_difference(min(1 + shift + noise, 5.0), 1.0) for noise in draw.normal(0, 0.3, 4000)]
    found, counts = np.unique(levels, return_counts=True)
    step = StepCounts(pairs=dict(zip(found.tolist(), counts.tolist(), strict=True)))
    result = compared({0: step}, metric="absolute_error", bound=5.0, worse_by=0.05)
    assert result.difference == pytest.approx(shift, abs=0.02)
    assert result.is_worse == (shift > 0.05) and result.is_not_worse == (shift < 0.05)


def test_rounding_decides_nothing() -> None:
    """Losses a quarter of a level apart are of the levels 0 and 0: neither question is answered by that."""
    scale = LossScale("absolute_error", 1.0)
    step = StepCounts(pairs={scale.level_of_difference(0.0005, 0.0): 10_000})
    result = compared({0: step}, metric="absolute_error", bound=1.0, worse_by=0.001)
    assert not result.is_worse and not result.is_not_worse


def test_in_canary_steps_equal_models_are_seldom_rolled_back_while_the_day_changes() -> None:
    draw = np.random.default_rng(1)
    wrong_rollbacks, runs, rows = 0, 120, 6000
    of_day = 0.05 * (1 + 0.8 * np.sin(2 * np.pi * np.arange(rows) / 2000))
    for _ in range(runs):
        wrong, challenger = draw.random(rows) < of_day, draw.random(rows) < 0.05
        counts = np.cumsum([~challenger, ~challenger & wrong, challenger, challenger & wrong], axis=1)
        for ours, ours_wrong, theirs, theirs_wrong in counts[:, 299::300].T.tolist():
            if compared({1: canary((ours, ours_wrong), (theirs, theirs_wrong))}, worse_by=0.0).is_worse:
                wrong_rollbacks += 1
                break
    assert wrong_rollbacks <= 6 + 3 * (6 * 0.95) ** 0.5
