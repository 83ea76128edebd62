"""MNIST-1D, made by its own package, and the yearly sunspot numbers of statsmodels.

The generator of MNIST-1D sets the seeds of `random` and numpy for the whole process; they are put back afterwards.
"""

from __future__ import annotations

import random
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from forgeline.preprocessing import ClassTarget
from forgeline_jobs.data.augmentation import SeriesAugmentation
from forgeline_jobs.data.base import ClassWeights, DataConfig, PreparedData, ShareConfig, SplitConfig, as_int64
from forgeline_jobs.data.series import prepare_forecast, prepare_labelled
from forgeline_jobs.data.splits import SplitIndices, stratified_split

_TEST = 0.2


class Mnist1dConfig(DataConfig):
    """MNIST-1D (Greydanus & Kobak 2024) with its published settings: 5,000 signals, seed 42."""

    name: Literal["mnist1d"] = "mnist1d"
    batch_size: int = Field(default=100, ge=1, description="Samples per optimiser step, over all workers together.")
    augment: SeriesAugmentation = Field(default=SeriesAugmentation(), description="Random changes of training series.")
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")


class TailConfig(BaseModel):
    """What is taken off the end of the first four fifths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(default=0.1, gt=0, le=0.5, description="Share of all years, from the end of the train part.")


class SunspotsConfig(DataConfig):
    """Yearly sunspot numbers, 309 years; the last fifth is test."""

    name: Literal["sunspots"] = "sunspots"
    window: int = Field(default=11, ge=1, le=150, description="Years that a forecast reads; a cycle takes about 11.")
    horizon: int = Field(default=1, ge=1, le=11, description="Years that a forecast says.")
    split: TailConfig = Field(default=TailConfig(), description="How years are held out.")


def prepare_mnist1d(config: Mnist1dConfig) -> PreparedData:
    """A tenth of the published 4,000 is val, the published 1,000 are test."""
    from mnist1d.data import get_dataset_args, make_dataset

    before, numpy_before = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
    series = np.concatenate([made["x"], made["x_test"]])[..., None]
    classes = np.concatenate([made["y"], made["y_test"]]).astype(np.int64)
    published = len(made["x"])
    # Stratified val of the published train part; what the draw calls test goes back to train.
    drawn = stratified_split(classes[:published], SplitConfig(val=0.1, test=0.1, seed=0))
    indices = SplitIndices(
        train=as_int64(np.sort(np.concatenate([drawn.train, drawn.test]))),
        val=drawn.val,
        test=as_int64(np.arange(published, len(classes))),
    )
    return prepare_labelled(
        series,
        classes,
        target=ClassTarget.fit("digit", range(10)),
        indices=indices,
        augment=config.augment,
        class_weights=config.class_weights,
    )


def prepare_sunspots(config: SunspotsConfig) -> PreparedData:
    """One row per year from 1700 to 2008."""
    from statsmodels.datasets import sunspots

    frame = sunspots.load_pandas().data.rename(columns={"YEAR": "year", "SUNACTIVITY": "sunspots"})
    return prepare_forecast(
        frame.astype({"year": "int64"}),
        targets=("sunspots",),
        features=(),
        time="year",
        window=config.window,
        horizon=config.horizon,
        split=ShareConfig(val=config.split.val, test=_TEST),
    )
