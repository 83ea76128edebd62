"""The limits: passed only when that is certain, and soon when everything fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgeline_deploy.rollout import Evidence, GuardConfig, StepCounts
from forgeline_deploy.rollout.guard import watch
from forgeline_deploy.rollout.spec import parse_mode

STEPS = parse_mode("shadow -> canary 5% -> 100%")


def passed(counts: dict[int, StepCounts], **config: Any) -> list[str]:
    guard = GuardConfig.model_validate({"p99": "100ms", "disagreement": "10%", **config})
    evidence = Evidence({(step, "router"): each for step, each in counts.items()})
    return [limit.name for limit in watch(evidence, STEPS, guard) if limit.is_passed]


def test_a_challenger_within_its_limits_passes_none() -> None:
    counts = StepCounts(requests=10_000, errors=90, slow={"p99": 95}, shadowed=10_000, disagreements=900)
    assert passed({0: counts}) == []


@pytest.mark.parametrize(
    ("over", "name"),
    [
        ({"errors": 60}, "errors"),
        ({"slow": {"p99": 60}}, "p99"),
        ({"shadowed": 2000, "disagreements": 300}, "disagreement"),
    ],
)
def test_each_limit_is_passed_by_what_it_limits(over: dict[str, Any], name: str) -> None:
    assert passed({0: StepCounts(requests=2000, **over)}) == [name]


def test_a_limit_decides_from_min_requests_on() -> None:
    all_fail = StepCounts(requests=20, errors=20)
    assert passed({1: all_fail}) == []
    assert passed({1: all_fail}, min_requests=20) == ["errors"]


def test_what_fails_in_a_later_step_is_found_after_a_long_good_one() -> None:
    good, bad = StepCounts(requests=50_000), StepCounts(requests=60, errors=30)
    assert passed({0: good, 1: bad}) == ["errors"]


def test_limits_can_be_left_out() -> None:
    guard = GuardConfig(errors=None)
    assert watch(Evidence({(0, "router"): StepCounts(requests=100, errors=100)}), STEPS, guard) == []


def test_at_its_limit_it_is_seldom_rolled_back() -> None:
    draw = np.random.default_rng(0)
    runs, rows = 100, 3000
    found = 0
    for _ in range(runs):
        failed = np.cumsum(draw.random(rows) < 0.01)[199::200]
        looks = zip(failed.tolist(), range(200, rows + 1, 200), strict=True)
        found += any(passed({0: StepCounts(requests=seen, errors=errors)}, p99=None) for errors, seen in looks)
    assert found <= 1 + 3
