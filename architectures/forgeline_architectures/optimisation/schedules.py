"""Learning-rate schedules: a factor on the rate as a pure function of the step, so that a resumed run goes on exactly.

Every schedule starts with the same linear warm-up (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Its first step
already moves: the factor of step 0 is 1/warm-up, not 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.optimisation.options import OptimizerConfig, in_steps


def learning_rate_factor(config: OptimizerConfig, total_steps: int) -> Callable[[int], float]:
    """The factor on `lr` by optimizer step, counted from 0.

    Cosine and linear come down to `final` at step `total_steps`, one after the last, so that no step is wasted at a
    rate of 0. Cosine: Loshchilov & Hutter 2017 (arXiv:1608.03983, equation 5) without restarts. Inverse square root:
    Vaswani et al. 2017 (arXiv:1706.03762, equation 3), whose rate at the end of the warm-up is `lr` here.
    """
    warmup = min(in_steps(config.warmup, total_steps), total_steps)
    step_every = max(in_steps(config.step_every, total_steps), 1)
    remaining = max(total_steps - warmup, 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / remaining, 1.0)
        match config.schedule:
            case "constant":
                return 1.0
            case "step":
                return config.gamma ** ((step - warmup) // step_every)
            case "cosine":
                return config.final + (1 - config.final) * (1 + math.cos(math.pi * progress)) / 2
            case "linear":
                return config.final + (1 - config.final) * (1 - progress)
            case "inverse_sqrt":
                return math.sqrt(max(warmup, 1) / (step + 1))

    return factor


def build_scheduler(optimizer: Optimizer, config: OptimizerConfig, total_steps: int) -> LambdaLR:
    """A scheduler to be stepped after each optimizer step. Its state holds numbers only."""
    return LambdaLR(optimizer, learning_rate_factor(config, total_steps))
