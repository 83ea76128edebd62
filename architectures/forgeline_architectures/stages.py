"""What the settings of a model that learns in two stages must keep to; no torch."""

from __future__ import annotations


def check_first_stage(steps: int, *, key: str, total_steps: int, pretrained: bool) -> None:
    """Hold the first stage against the run.

    Args:
        steps: optimiser steps of the first stage.
        key: of the settings, for `steps`.
        total_steps: optimiser steps of the run.
        pretrained: whether the run starts from the weights of a trained model.

    Raises:
        ValueError: no step is left to the second stage, or it would learn on a first part that nobody has trained.
    """
    if steps >= total_steps:
        raise ValueError(
            f"architecture.{key} {steps} leaves nothing of {total_steps} steps to the second stage; lower "
            f"architecture.{key} or raise trainer.steps"
        )
    if steps == 0 and not pretrained:
        raise ValueError(
            f"architecture.{key} is 0, so that the autoencoder stays as it begins, and it begins with random weights; "
            f"set architecture.{key}, or name a trained model in fine_tune.pretrained"
        )
