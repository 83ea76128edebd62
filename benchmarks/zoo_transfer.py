"""Transfer: 8x8 digits from few labels, starting from a network trained on MNIST, against the same from random weights.

Which images keep their labels, the initial weights and the order all change with the seed. Both trainings have the same
settings, data and steps; the last checkpoint is measured, so that no label of val is used.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import forgeline as fl
from benchmarks.bars import SPECS, evaluate

SEEDS = (0, 1, 2)
SOURCE = "zoo/densenet.yaml"
SPEC = "zoo/transfer.yaml"
ADAPTER: Mapping[str, Any] = {
    "fine_tune.adapter": {"layers": ["features.*"], "rank": 4, "alpha": 8},
    "optimizer.lr": 3e-3,
    "optimizer.weight_decay": 0,
}


def _trained(spec: str, **change: Any) -> fl.Run:
    run = fl.run(SPECS / spec, set=change)
    if run.state != "succeeded":
        raise RuntimeError(f"{spec} with {change}: {run.state}, {run.message}")
    return run


@cache
def _source() -> str:
    return f"runs:/{_trained(SOURCE).id}"


@cache
def _from_scratch(labels: int, seed: int) -> float:
    return evaluate(_trained(SPEC, **_change(labels, seed), **{"fine_tune.pretrained": None}), "accuracy")


def _change(labels: int, seed: int) -> dict[str, Any]:
    return {"data.labels": labels, "data.label_seed": seed, "trainer.seed": seed}


def transferred(
    say: Callable[[str], None], *, labels: int, margin: float, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Mean test accuracy from MNIST's weights, held against that from random ones.

    Args:
        say: takes a line of progress.
        labels: of train that are kept.
        margin: by how much the mean must be above that from scratch.
        settings: changes of the spec for the training from MNIST's weights alone.
    """
    scores: list[float] = []
    references: list[float] = []
    for seed in SEEDS:
        change = {**_change(labels, seed), "fine_tune.pretrained": _source(), **(settings or {})}
        scores.append(evaluate(_trained(SPEC, **change), "accuracy"))
        references.append(_from_scratch(labels, seed))
        say(f"{labels} labels, seed {seed}: {scores[-1]:.4f} from MNIST, {references[-1]:.4f} from scratch")
    mean, scratch = statistics.fmean(scores), statistics.fmean(references)
    return {
        "spec": SPEC,
        "source": SOURCE,
        "metric": "test/accuracy",
        "labels": labels,
        "seeds": list(SEEDS),
        "scores": scores,
        "references": references,
        "mean": mean,
        "at_least": scratch + margin,
        "met": mean >= scratch + margin if margin else mean > scratch,
    }


ROWS: Mapping[str, Mapping[str, Any]] = {
    "digits with 10 labels, from MNIST": {"labels": 10, "margin": 0.25},
    "digits with 50 labels, from MNIST": {"labels": 50, "margin": 0.0},
    "digits with 50 labels, LoRA from MNIST": {"labels": 50, "margin": 0.0, "settings": ADAPTER},
}
