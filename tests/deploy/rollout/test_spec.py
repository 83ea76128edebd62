"""What the `rollout` block takes, and what it says of what it does not take."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from forgeline_deploy.rollout import RolloutConfig
from forgeline_deploy.rollout.spec import Step, parse_mode

ISSUED: dict[str, Any] = {
    "challenger": "models:/digits@challenger",
    "mode": "shadow -> canary 5% -> 25% -> 100%",
    "compare": {"metric": "error_rate", "worse_by": 0.02, "confidence": 0.95},
    "guard": {"p99": "100ms", "errors": "1%"},
}


def test_a_block_as_it_is_written_reads_back_equal() -> None:
    config = RolloutConfig.model_validate(ISSUED)
    assert config.steps == (Step(0.0, shadow=True), Step(0.05), Step(0.25), Step(1.0))
    assert config.guard.latencies() == {"p99": (0.1, 0.01)}
    assert RolloutConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("canary 5% -> shadow -> 100%", "`shadow` is step 2; allowed: `shadow` at most once and first"),
        ("shadow -> shadow -> 100%", "`shadow` is step 2"),
        ("shadow -> canary 5%", "which ends before 100%"),
        ("shadow", "which ends before 100%"),
        ("25% -> 5% -> 100%", "'5%' is not more than the step before it"),
        ("0% -> 100%", "'0%' is not more than the step before it"),
        ("shadow -> 120%", "step 2 is '120%'"),
        ("shadow, 100%", "step 1 is 'shadow, 100%'"),
        ("shadow ->", "step 2 is ''"),
        ("", "step 1 is ''"),
    ],
)
def test_a_mode_that_is_none_says_what_is_allowed(mode: str, said: str) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        parse_mode(mode)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"challenger": "digits"}, "got 'digits'; allowed: a registered model"),
        ({"challenger": "models:/digits@"}, "names no model version"),
        ({"mode": "100%"}, "nothing can be compared"),
        ({"guard": {"disagreement": "10%"}, "mode": "5% -> 100%"}, "both answer a request in shadow only"),
        ({"guard": {"errors": "0%"}}, "got 0%; allowed: more than 0%"),
        ({"compare": {"metric": "absolute_error"}}, "bound: needed for absolute_error"),
        ({"compare": {"bound": 2.0}}, "bound: got 2; an error rate is bounded by 1"),
        ({"compare": {"worse_by": 1.0}}, "worse_by: got 1; allowed: less than 1"),
        ({"compare": {"metric": "accuracy"}}, "error_rate"),
        ({"canary": 5}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_block_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RolloutConfig.model_validate(ISSUED | change)
    assert said in str(caught.value)
