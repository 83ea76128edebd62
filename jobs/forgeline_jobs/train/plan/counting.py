"""What there is to keep of a model, counted on the module that is to be trained, without memory for its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgeline_jobs.train.plan.model_states import ModelSize, Parameter

if TYPE_CHECKING:
    from torch import nn

    from forgeline_architectures.tasks.base import TaskModule


def size_of(module: TaskModule) -> ModelSize:
    """The size of a module; tied weights count once."""
    floating = [buffer.numel() for buffer in module.buffers() if buffer.is_floating_point()]
    other = [buffer.nbytes for buffer in module.buffers() if not buffer.is_floating_point()]
    averages = {} if module.ema is None else {id(each): each.nbytes for each in module.ema.averages().values()}
    return ModelSize(
        parameters=tuple(
            Parameter(
                elements=parameter.numel(),
                rows=parameter.shape[0] if parameter.ndim else 1,
                trained=parameter.requires_grad,
            )
            for parameter in module.parameters()
        ),
        floating_buffers=sum(floating),
        other_buffers=sum(other),
        averages=sum(averages.values()),
    )


def largest_layer(module: nn.Module) -> int:
    """Parameters of the module that has most of its own, children not counted: what DeepSpeed's estimator goes by."""
    return max(
        (sum(parameter.numel() for parameter in each.parameters(recurse=False)) for each in module.modules()), default=0
    )
