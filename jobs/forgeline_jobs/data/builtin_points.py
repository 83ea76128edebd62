"""25 Gaussians on a grid, drawn by a fixed seed: the usual test of whether a generator finds every mode."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, TablePreprocessing
from forgeline.preprocessing.tabular import NumericColumn
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, DataConfig, PreparedData, Split, SplitName
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.generation import LABEL, Condition, LabelledSplit, Modes, generation_signature

# Metz et al. 2017 (arXiv:1611.02163) and Gulrajani et al. 2017 (arXiv:1704.00028, section 5.1) test on such a grid.
SIDE, SPACING, SIGMA = 5, 2.0, 0.05
POINTS: dict[SplitName, int] = {"train": 25_000, "val": 2_500, "test": 10_000}
SCALE = 2.828  # about the deviation of a coordinate, sqrt(8): Gulrajani et al.'s constant
_SEED = 0


class Gaussians25Config(DataConfig):
    """Centres 2 apart on a 5x5 grid, deviation 0.05, the same number of points from each."""

    name: Literal["gaussians25"] = "gaussians25"
    batch_size: int = Field(default=256, ge=1, description="Points per optimiser step, over all workers together.")
    condition: Condition = Field(
        default="none", description="What a generator is told: the `label` of the Gaussian, or nothing (`none`)."
    )


def centres() -> NDArray[np.float64]:
    """The means [25, 2]."""
    axis = (np.arange(SIDE) - SIDE // 2) * SPACING
    return np.asarray(list(product(axis, axis)))


def prepare_gaussians25(config: Gaussians25Config) -> PreparedData:
    """25,000 train, 2,500 val, 10,000 test."""
    means, random = centres(), np.random.default_rng(_SEED)
    target = ClassTarget.fit("gaussian", range(len(means)))
    labels = {name: np.arange(POINTS[name], dtype=np.int64) % len(means) for name in SPLITS}
    points = {name: means[labels[name]] + random.normal(scale=SIGMA, size=(POINTS[name], 2)) for name in SPLITS}
    splits: dict[str, Split] = {}
    for name in SPLITS:
        arrays: dict[str, NDArray[Any]] = {"numeric": (points[name] / SCALE).astype(np.float32), "target": labels[name]}
        splits[name] = LabelledSplit(
            ArraySplit(arrays),
            labels[name],
            cardinality=len(means),
            condition=config.condition,
            modes=Modes(centres=means / SCALE, deviation=SIGMA / SCALE),
        )
    told = {LABEL: len(means)} if config.condition == "label" else {}
    return PreparedData(
        signature=generation_signature("numeric", (2,), told),
        preprocessing=TablePreprocessing(
            numeric=tuple(NumericColumn(name=axis, fill=0.0, mean=0.0, std=SCALE) for axis in ("x", "y")),
            target=target if told else None,
        ),
        splits=splits,
        fingerprint=fingerprint_arrays({name: points[name] for name in SPLITS}),
        summary={"samples": dict(POINTS), "task": "generation", "columns": {"x": "numeric", "y": "numeric"}},
        input_example=None,
    )
