"""Properties of the learning-rate schedules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from forgeline_architectures.optimisation.options import OptimizerConfig
from forgeline_architectures.optimisation.schedules import build_scheduler, learning_rate_factor

schedules = st.sampled_from(["constant", "step", "cosine", "linear"])


@given(schedule=schedules, total=st.integers(1, 400), share=st.integers(0, 100), final=st.floats(0, 1))
def test_warmup_rises_to_one_and_nothing_exceeds_it(schedule: str, total: int, share: int, final: float) -> None:
    config = OptimizerConfig.model_validate({"schedule": schedule, "warmup": f"{share}%", "final": final})
    factor = learning_rate_factor(config, total)
    warmup = round(share / 100 * total)
    rising = [factor(step) for step in range(warmup)]
    assert rising == sorted(set(rising))
    assert factor(warmup - 1 if warmup else 0) == pytest.approx(1)
    assert all(0 < factor(step) <= 1 + 1e-12 for step in range(total))


@given(schedule=schedules, total=st.integers(2, 400), warmup=st.integers(0, 50), final=st.floats(0, 1))
def test_falls_to_the_end_value(schedule: str, total: int, warmup: int, final: float) -> None:
    config = OptimizerConfig.model_validate({"schedule": schedule, "warmup": f"{warmup}step", "final": final})
    factor = learning_rate_factor(config, total)
    after = [factor(step) for step in range(min(warmup, total), total)]
    assert all(later <= earlier + 1e-12 for earlier, later in zip(after, after[1:], strict=False))
    if schedule in ("cosine", "linear") and warmup < total:
        assert factor(total) == pytest.approx(final, abs=1e-12)
        assert factor(10 * total) == pytest.approx(final, abs=1e-12)


def test_step_falls_by_gamma() -> None:
    config = OptimizerConfig(schedule="step", step_every="10step", gamma=0.5, warmup="5step")
    factor = learning_rate_factor(config, 100)
    assert [factor(step) for step in (4, 5, 14, 15, 25)] == [1, 1, 1, 0.5, 0.25]


def test_inverse_square_root_falls_from_the_end_of_the_warm_up() -> None:
    config = OptimizerConfig(schedule="inverse_sqrt", warmup="25step")
    factor = learning_rate_factor(config, 400)
    # Equation 3 of Vaswani et al. 2017 counts steps from 1: min(step^-0.5, step * warm-up^-1.5), divided by its peak.
    published = [min(step**-0.5, step * 25**-1.5) / 25**-0.5 for step in range(1, 401)]
    assert [factor(step) for step in range(400)] == pytest.approx(published)


def test_inverse_square_root_needs_a_warm_up() -> None:
    with pytest.raises(ValueError, match=r"got warmup 0step; change optimizer\.warmup"):
        OptimizerConfig(schedule="inverse_sqrt")


def test_state_is_plain_and_resumes() -> None:
    def fresh() -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
        config = OptimizerConfig(schedule="cosine", warmup="10%")
        return optimizer, build_scheduler(optimizer, config, 50)

    optimizer, scheduler = fresh()
    for _ in range(20):
        optimizer.step()
        scheduler.step()
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [None]
    _, resumed = fresh()
    resumed.load_state_dict(state)
    optimizer.step()
    scheduler.step()
    resumed.optimizer.step()
    resumed.step()
    assert resumed.get_last_lr() == scheduler.get_last_lr()
