"""The three tables of scikit-learn, with the split drawn by `data.split.seed`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from forgeline_jobs.data.base import ClassWeights, DataConfig, PreparedData, SplitConfig
from forgeline_jobs.data.recent import RecentConfig
from forgeline_jobs.data.tabular import TableTask, prepare_table


class _BuiltinTableConfig(DataConfig):
    split: SplitConfig = Field(default=SplitConfig(), description="How rows are held out.")
    recent: RecentConfig | None = Field(
        default=None, description="Labelled samples of a deployment, to learn from besides."
    )


class BreastCancerConfig(_BuiltinTableConfig):
    """Wisconsin diagnostic breast cancer (Wolberg, Street & Mangasarian 1995)."""

    name: Literal["breast-cancer"] = "breast-cancer"
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")


class WineConfig(_BuiltinTableConfig):
    """Wine recognition (Aeberhard & Forina 1991)."""

    name: Literal["wine"] = "wine"
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")


class DiabetesConfig(_BuiltinTableConfig):
    """Diabetes progression (Efron, Hastie, Johnstone & Tibshirani 2004)."""

    name: Literal["diabetes"] = "diabetes"


def prepare_breast_cancer(config: BreastCancerConfig) -> PreparedData:
    """569 rows; the target is `diagnosis`."""
    from sklearn.datasets import load_breast_cancer

    return _prepare(load_breast_cancer(), "diagnosis", "classification", config, config.class_weights)


def prepare_wine(config: WineConfig) -> PreparedData:
    """178 rows; the target is `grower`."""
    from sklearn.datasets import load_wine

    return _prepare(load_wine(), "grower", "classification", config, config.class_weights)


def prepare_diabetes(config: DiabetesConfig) -> PreparedData:
    """442 rows in their original units; the target is `progression`."""
    from sklearn.datasets import load_diabetes

    return _prepare(load_diabetes(scaled=False), "progression", "regression", config, None)


def _prepare(
    bunch: Any, target: str, task: TableTask, config: _BuiltinTableConfig, weights: ClassWeights
) -> PreparedData:
    import pandas as pd

    features = [str(name).replace(" ", "_") for name in bunch.feature_names]
    frame = pd.DataFrame(bunch.data, columns=features)
    frame[target] = bunch.target if task == "regression" else [str(bunch.target_names[c]) for c in bunch.target]
    return prepare_table(
        frame,
        features=features,
        targets=(target,),
        task=task,
        split=config.split,
        class_weights=weights,
        recent=config.recent,
    )
