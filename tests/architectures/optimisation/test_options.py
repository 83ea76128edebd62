"""Options: units, cross-field checks, JSON round trip."""

from __future__ import annotations

import pytest

from forgeline_architectures.optimisation.options import OptimizerConfig, TrainingOptions, in_steps


@pytest.mark.parametrize(
    ("written", "steps"),
    [(0, 0), ("5%", 10), ("12.5%", 25), ("30step", 30), ("30 steps", 30), ("100%", 200), ("0step", 0)],
)
def test_warmup_units(written: object, steps: int) -> None:
    config = OptimizerConfig.model_validate({"warmup": written})
    assert in_steps(config.warmup, 200) == steps
    assert OptimizerConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("written", [5, 0.05, "5", "101%", "10ep", "1.5step", "-5%", True, False, None])
def test_warmup_without_a_unit_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="warmup"):
        OptimizerConfig.model_validate({"warmup": written})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nesterov": True}, r"optimizer\.nesterov"),
        ({"betas": [0.9, 1.0]}, r"optimizer\.betas"),
        ({"step_every": 0}, r"optimizer\.step_every"),
        ({"lr": 0}, "greater than 0"),
        ({"name": "adagrad"}, "'sgd', 'adam', 'adamw' or 'rmsprop'"),
    ],
)
def test_fields_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig.model_validate(changes)


@pytest.mark.parametrize("model", [OptimizerConfig, TrainingOptions])
def test_every_field_is_described(model: type[OptimizerConfig] | type[TrainingOptions]) -> None:
    assert {name for name, field in model.model_fields.items() if not field.description} == set()
